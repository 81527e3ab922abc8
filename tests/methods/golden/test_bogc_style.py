"""BOGC-style: weights and spreads by hand, and the gradients of every draw from linear heads written out."""

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, THREE, make_fit, step, whole_batch
from mcr_bench.methods.bogc_style import BogcStyle
from mcr_bench.methods.multi_loss import MultiLoss
from mcr_bench.methods.terms.objectives.sampled_heads import Spread, certainty

SGD = {"optimizer__name": "sgd", "dtype": torch.float64, "clip_norm": 0.0}
Noises = dict[str, Tensor]


def test_weights_by_hand() -> None:
    """Sums over the batch: fused (1, 4), (3, 4), own (0, 0), (6, 2); variances (1, 0) and (9, 1)."""
    fused = torch.tensor([[[1.0, 1.0], [0.0, 3.0]], [[1.0, 4.0], [2.0, 0.0]]], dtype=torch.float64)
    own = torch.tensor([[[-1.0, 0.0], [1.0, 0.0]], [[6.0, 1.0], [0.0, 1.0]]], dtype=torch.float64)
    assert certainty(fused, own).tolist() == pytest.approx([0.9, 1.0])
    assert certainty(own, fused).tolist() == pytest.approx([0.1, 0.0])
    assert certainty(fused, fused).tolist() == [0.5, 0.5]
    assert certainty(0 * fused, 0 * own).tolist() == [0.5, 0.5]


def test_spread_by_hand() -> None:
    """h = .1 * 4 after one step and .9 * .4 + .1 * 1 after two; 1 / sqrt(50 h + 2)."""
    spread, weight = Spread(50, prior=2.0, memory=0.9), torch.zeros(1, dtype=torch.float64)
    assert spread.deviation("w", weight).item() == pytest.approx(2**-0.5)
    found = []
    for gradient in (2.0, -1.0):
        spread.add({"w": torch.tensor([gradient], dtype=torch.float64)})
        found.append(spread.deviation("w", weight).item())
    assert found == pytest.approx([22**-0.5, 25**-0.5])


def noises(fit: Fit, draws: int) -> Noises:
    """The noise (S, ...) of every parameter of a head, by its name in the model, from the streams of this step."""
    found = {}
    for name, p, owner in fit.model.owned():
        if owner.role != "encoder":
            source = fit.generator("head", name)
            found[name] = torch.randn((draws, *p.shape), generator=source, dtype=torch.float64)
    return found


def drawn_gradients(fit: Fit, noise: Noises, deviation: float) -> dict[str, list[tuple[Tensor, Tensor]]]:
    """Modality -> for each draw the gradients (B, d) of the fused and of its own loss with respect to its features."""
    batch, found = whole_batch(fit), {m: [] for m in fit.model.modalities}
    values = dict(fit.model.named_parameters())
    for number in range(len(next(iter(noise.values())))):
        p = {name: values[name].detach() + deviation * z[number] for name, z in noise.items()}
        features = {m: f.detach().requires_grad_() for m, f in fit.model.encode(batch.inputs).items()}
        fused = sum(f @ p[f"fusion.slices.{m}.weight"].T for m, f in features.items()) + p["fusion.bias"]
        assert isinstance(fused, Tensor)
        for m, f in features.items():
            own = f @ p[f"own_heads.{m}.weight"].T + p[f"own_heads.{m}.bias"]
            losses = fit.task.loss(fused, batch.target), fit.task.loss(own, batch.target)
            one, other = (torch.autograd.grad(loss, f, retain_graph=True)[0] for loss in losses)
            found[m].append((one, other))
    return found


def calibrated(draws: list[tuple[Tensor, Tensor]]) -> Tensor:
    """sum_t 2 w_t g_t, dimension by dimension."""
    means = [sum(d[t] for d in draws) / len(draws) for t in (0, 1)]
    made = torch.zeros_like(draws[0][0])
    for k in range(made.shape[1]):
        precisions = []
        for t in (0, 1):
            sums = [float(d[t][:, k].sum()) for d in draws]
            middle = sum(sums) / len(sums)
            precisions.append(len(sums) / sum((s - middle) ** 2 for s in sums))
        for t in (0, 1):
            made[:, k] += 2 * precisions[t] / sum(precisions) * means[t][:, k]  # type: ignore[index]
    return made


@pytest.mark.parametrize("task", [THREE, Task(None, labels=3)], ids=["classes", "labels"])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_encoders_get_the_weighted_gradients_and_heads_the_plain_ones(count: int, task: Task) -> None:
    names, method = NAMES[:count], BogcStyle(draws=5, prior=30.0, spread=1.5)
    fit, plain = make_fit(method, names, task, **SGD), MultiLoss()
    fit.epoch = fit.step = 1
    deviation = 1.5 / 30.0**0.5  # no squared gradient is known before the first step
    draws = drawn_gradients(fit, noises(fit, 5), deviation)
    encoded = fit.model.encode(whole_batch(fit).inputs)
    expected = {}
    for m, rows in draws.items():
        at = fit.model.parameters_of(m, "encoder")
        expected[m] = torch.autograd.grad(encoded[m], at, grad_outputs=calibrated(rows))
    other = make_fit(plain, names, task, **SGD)
    fit.epoch = fit.step = 0
    step(method)
    step(plain)
    for m in names:
        found = [p.grad for p in fit.model.parameters_of(m, "encoder")]
        torch.testing.assert_close(found, list(expected[m]), rtol=1e-8, atol=1e-12)
    theirs = dict(other.model.named_parameters())
    for name, p, owner in fit.model.owned():
        same = torch.allclose(p.grad, theirs[name].grad, rtol=1e-9, atol=1e-13)  # type: ignore[arg-type]
        assert same == (owner.role != "encoder"), name


def test_a_resumed_run_has_the_same_spreads() -> None:
    method, again = BogcStyle(), BogcStyle()
    make_fit(method, **SGD)
    other = make_fit(again, **SGD)
    step(method)
    step(again)
    other.step = 1
    again.load_state_dict(method.state_dict())
    other.model.load_state_dict(method.fit.model.state_dict())
    for one in (method, again):
        step(one)
    mine, theirs = (one.fit.model.state_dict() for one in (method, again))
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    known = method.state_dict()["squares"]
    assert {"fusion.bias", "fusion.slices.audio.weight", "own_heads.video.bias"} <= known.keys()


def test_draws_differ_from_step_to_step_and_evaluation_draws_nothing() -> None:
    method = BogcStyle()
    fit = make_fit(method, **SGD)
    batch, found = whole_batch(fit), []
    for fit.step in (1, 1, 2):
        losses = method.loss(method.forward(batch), batch)
        fit.zero_grad()
        method.backward(losses)
        found.append(torch.cat([p.grad.flatten() for p in fit.model.parameters_of("audio", "encoder")]))  # type: ignore[union-attr]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    with torch.no_grad():
        assert "fused" in method.loss(method.forward(batch), batch)
