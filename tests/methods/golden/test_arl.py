"""ARL's weights by plain loops over samples, and the gradients that they leave, inside and outside the window."""

import math

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, THREE, make_fit, step, whole_batch
from mcr_bench.methods.arl import Arl
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.terms.gradients.asymmetry import asymmetry, prediction_entropies

SGD = {"optimizer__name": "sgd", "dtype": torch.float64, "clip_norm": 0.0}
TASKS = {"classes": THREE, "score": Task(None), "labels": Task(None, labels=3), "scores": Task(None, scores=2)}


def alone(fit: Fit) -> dict[str, Tensor]:
    """The fusion head's logits of each modality beside zeros."""
    features = fit.model.encode(whole_batch(fit).inputs)
    return {m: fit.model.fusion({n: f * float(n == m) for n, f in features.items()}).logits for m in features}


def uncertainty(z: Tensor, y: Tensor, task: Task) -> float:
    rows = []
    for logits, target in zip(z.tolist(), y.tolist(), strict=True):
        if task.regression:
            wanted = target if isinstance(target, list) else [target]
            rows.append(sum((a - b) ** 2 for a, b in zip(logits, wanted, strict=True)) / len(logits))
        elif task.multi_label:
            p = [1 / (1 + math.exp(-x)) for x in logits]
            rows.append(-sum(q * math.log(q) + (1 - q) * math.log(1 - q) for q in p) / len(p))
        else:
            total = sum(math.exp(x) for x in logits)
            rows.append(-sum(math.exp(x) / total * math.log(math.exp(x) / total) for x in logits))
    return sum(rows) / len(rows)


def intended(fit: Fit, temperature: float) -> list[float]:
    """1 + w by the words: shares, the least of which is .3 of two, and a softmax."""
    z, y, count = alone(fit), fit.train.target, len(fit.model.modalities)
    size = [x.abs().mean(0).sum().item() for x in z.values()]
    unsure = [uncertainty(x, y, fit.task) for x in z.values()]
    sure = [1 / max(u / sum(unsure), 0.6 / count) for u in unsure]
    scaled = [
        temperature * (sum(size) - c) / sum(size) / (count - 1) * s / sum(sure) for c, s in zip(size, sure, strict=True)
    ]
    return [1 + math.exp(x) / sum(math.exp(o) for o in scaled) for x in scaled]


def plain(names: tuple[str, ...], task: Task, fusion: str, gamma: float) -> tuple[Fit, dict[str, Tensor]]:
    """A fit of the same weights, and the gradients of CE(z, y) + gamma sum_m CE(z_m, y)."""
    fit = make_fit(Joint(), names, task, fusion=fusion, **SGD)
    batch = whole_batch(fit)
    loss = task.loss(fit.model(batch.inputs).logits, batch.target)
    for z in alone(fit).values():
        loss = loss + gamma * task.loss(z, batch.target)
    loss.backward()
    return fit, {name: p.grad for name, p in fit.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize(("count", "fusion"), [(2, "gated"), (3, "late-linear"), (4, "concat-mlp")])
def test_encoders_get_their_factors_and_the_head_none(count: int, fusion: str, task: Task) -> None:
    names, method = NAMES[:count], Arl(gamma=2.5, temperature=6.0, start=1)
    other, gradients = plain(names, task, fusion, 2.5)
    k = dict(zip(names, intended(other, 6.0), strict=True))
    fit = make_fit(method, names, task, fusion=fusion, **SGD)
    step(method)
    mine = {name: p.grad for name, p in fit.model.named_parameters() if p.grad is not None}
    assert mine.keys() == gradients.keys()
    for name, g in gradients.items():
        room, m = name.split(".")[:2]
        torch.testing.assert_close(mine[name], g * (k[m] if room == "encoders" else 1.0), rtol=1e-9, atol=1e-12)
    logged = fit.meters.means()
    assert [logged[f"coefficient/{m}"] for m in names] == pytest.approx(list(k.values()), rel=1e-6)


@pytest.mark.parametrize("count", [2, 3])
def test_before_the_window_gamma_is_one_and_nothing_is_multiplied(count: int) -> None:
    names, method = NAMES[:count], Arl(start=3)
    _, gradients = plain(names, THREE, "late-linear", 1.0)
    fit = make_fit(method, names, **SGD)
    fit.epoch = 2
    step(method)
    for name, g in gradients.items():
        torch.testing.assert_close(fit.model.get_parameter(name).grad, g, rtol=1e-10, atol=1e-13)
    assert fit.meters.means()[f"coefficient/{names[0]}"] == 1


def test_weights_by_hand() -> None:
    # shares of uncertainty .1 and .9 count as .3 and .9: 1 / e = 10/3 and 10/9, shares .75 and .25; others .75 and .25
    found = asymmetry(torch.tensor([1.0, 9.0]).double(), torch.tensor([1.0, 3.0]).double(), 8.0)
    a, b = math.exp(8 * 0.75 * 0.75), math.exp(8 * 0.25 * 0.25)
    assert found.tolist() == pytest.approx([a / (a + b), b / (a + b)], rel=1e-12)
    even = asymmetry(torch.ones(3), torch.ones(3), 8.0)
    assert even.tolist() == pytest.approx([1 / 3] * 3)


def test_a_certain_prediction_has_no_entropy() -> None:
    assert prediction_entropies(torch.tensor([[[1e4, 0.0]]]), Task(2)).item() == 0
    assert prediction_entropies(torch.zeros(1, 1, 2), Task(None, labels=2)).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("lacked", NAMES[:3])
def test_a_modality_that_the_batch_lacks_counts_as_an_average_one(lacked: str) -> None:
    method = Arl(start=1, temperature=6.0)
    fit = make_fit(method, NAMES[:3], **SGD)
    fit.train.present = {lacked: torch.zeros(24, dtype=torch.bool)}
    z = alone(fit)
    size = {m: x.abs().mean(0).sum().item() for m, x in z.items() if m != lacked}
    unsure = {m: uncertainty(x, fit.train.target, THREE) for m, x in z.items() if m != lacked}
    full = [
        torch.tensor([part.get(m, sum(part.values()) / 2) for m in NAMES[:3]], dtype=torch.float64)
        for part in (unsure, size)
    ]
    step(method)
    logged = fit.meters.means()
    expected = (1 + asymmetry(*full, 6.0)).tolist()
    assert [logged[f"coefficient/{m}"] for m in NAMES[:3]] == pytest.approx(expected, rel=1e-6)
