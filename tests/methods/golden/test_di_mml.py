"""DI-MML: effective dimensions, contrast and prediction by plain loops, and the two stages."""

import math

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, whole_batch
from mcr_bench.datasets.base import Batch, Inputs
from mcr_bench.methods.di_mml import DiMml, by_certainty
from mcr_bench.methods.terms.features.dimensions import drawn_towards, effective_dimensions

DOUBLE = {"dtype": torch.float64}


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def entropy(z: Tensor, target: Tensor) -> Tensor:
    return -z.log_softmax(1)[torch.arange(len(target)), target].mean()


def plain_effective(rows: list[list[float]], target: list[int]) -> list[bool]:
    shares = []
    for k in range(len(rows[0])):
        groups = {c: [row[k] for row, y in zip(rows, target, strict=True) if y == c] for c in set(target)}
        means = {c: sum(values) / len(values) for c, values in groups.items()}
        shares.append(
            sum(min(means, key=lambda c: abs(row[k] - means[c])) == y for row, y in zip(rows, target, strict=True))
        )
    return [share > sum(shares) / len(shares) for share in shares]


@pytest.mark.parametrize(("classes", "width"), [(2, 6), (5, 9)])
def test_effective_dimensions_are_those_of_plain_loops(classes: int, width: int) -> None:
    target = torch.arange(40) % classes
    features = drawn(classes, 40, width) + target[:, None] * torch.arange(width) / 3
    found = effective_dimensions(features, target, classes + 2)
    assert found.tolist() == plain_effective(features.tolist(), target.tolist())
    assert 0 < found.sum() < width
    kept = torch.arange(40) % 3 > 0
    found = effective_dimensions(torch.where(kept[:, None], features, 1e3), target, classes, kept)
    assert found.tolist() == plain_effective(features[kept].tolist(), target[kept].tolist())


def plain_contrast(student: Tensor, teacher: Tensor, chosen: list[int], temperature: float, kept: list[int]) -> Tensor:
    """The mean of -log of shares, by loops over anchors and their candidates, on the chosen dimensions."""
    total = torch.zeros((), dtype=torch.float64)
    for i in kept:
        products = [sum((student[i, k] * teacher[j, k] for k in chosen), torch.zeros(())) / temperature for j in kept]
        right = products[kept.index(i)]
        total = total - (right.exp() / sum((p.exp() for p in products), torch.zeros(()))).log()
    return total / len(kept)


@pytest.mark.parametrize("temperature", [0.7, 20.0])
def test_the_contrast_is_that_of_plain_loops(temperature: float) -> None:
    student, teacher = drawn(1, 7, 5).requires_grad_(), drawn(2, 7, 5).requires_grad_()
    found = drawn_towards(student, teacher, temperature)
    want = plain_contrast(student, teacher.detach(), list(range(5)), temperature, list(range(7)))
    assert found.item() == pytest.approx(want.item(), rel=1e-9)
    assert torch.autograd.grad(found, teacher, allow_unused=True, retain_graph=True) == (None,)
    mine, theirs = (torch.autograd.grad(x, student)[0] for x in (found, want))
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)
    kept = torch.arange(7) % 3 > 0
    found = drawn_towards(student, teacher, temperature, kept)
    want = plain_contrast(student, teacher, list(range(5)), temperature, kept.nonzero()[:, 0].tolist())
    assert found.item() == pytest.approx(want.item(), rel=1e-9)
    assert drawn_towards(student, teacher, temperature, torch.zeros(7, dtype=torch.bool)).item() == 0


def at_epoch(method: DiMml, fit: Fit, epoch: int) -> None:
    fit.epoch = fit.step = epoch
    method.on_epoch_start()


@pytest.mark.parametrize(("count", "classes"), [(2, 3), (3, 5)])
def test_the_loss_of_the_first_stage(count: int, classes: int) -> None:
    method = DiMml(weight=0.4, temperature=2.0, start=0.2)
    fit = make_fit(method, NAMES[:count], Task(classes), epochs=10, **DOUBLE)
    batch, model = whole_batch(fit), fit.model
    at_epoch(method, fit, 2)
    outputs = method.forward(batch)
    early = method.loss(outputs, batch)
    assert set(early) == {f"{k}/{m}" for k in ("own", "shared") for m in NAMES[:count]}
    at_epoch(method, fit, 3)
    terms = method.loss(outputs, batch)
    good = {m: plain_effective(f.tolist(), batch.target.tolist()) for m, f in outputs.features.items()}
    pairs = [(t, s) for t in good for s in good if t != s]
    assert set(terms) == set(early) | {f"contrast/{t}/{s}" for t, s in pairs}
    for m, f in outputs.features.items():
        assert terms[f"own/{m}"].item() == pytest.approx(entropy(model.own_heads[m](f), batch.target).item())
        want = 0.4 * entropy(model.extras["shared"](f), batch.target).item()
        assert terms[f"shared/{m}"].item() == pytest.approx(want)
    some = 0
    for t, s in pairs:
        chosen = [k for k, (a, b) in enumerate(zip(good[t], good[s], strict=True)) if a and not b]
        some += len(chosen)
        want = (
            plain_contrast(outputs.features[s], outputs.features[t], chosen, 2.0, list(range(24))) if chosen else None
        )
        assert terms[f"contrast/{t}/{s}"].item() == pytest.approx(want.item() if want is not None else 0.0, rel=1e-8)
    assert some > 0


def test_dimensions_are_found_once_and_kept_over_an_interruption() -> None:
    method, other = DiMml(start=0.1), DiMml(start=0.1)
    fit, again = make_fit(method, epochs=10), make_fit(other, epochs=10)
    at_epoch(method, fit, 1)
    assert method.state_dict() == {}
    at_epoch(method, fit, 2)
    before = method.state_dict()["effective"].clone()
    for p in fit.model.parameters():
        p.data.mul_(-1.7)
    at_epoch(method, fit, 3)
    assert torch.equal(method.state_dict()["effective"], before)
    other.load_state_dict({"effective": ~before})
    at_epoch(other, again, 2)
    assert torch.equal(other.state_dict()["effective"], ~before)


def test_the_second_stage_trains_the_fusion_head_alone() -> None:
    method = DiMml(second=0.3)
    fit = make_fit(method, epochs=10, optimizer__lr=0.1, **DOUBLE)
    for epoch in (1, 7, 8, 10):
        at_epoch(method, fit, epoch)
        before = {n: p.detach().clone() for n, p in fit.model.named_parameters()}
        step(method)
        moved = {n.split(".")[0] for n, p in fit.model.named_parameters() if not torch.equal(p, before[n])}
        assert moved == ({"encoders", "own_heads", "extras"} if epoch < 8 else {"fusion"}), epoch
        assert bool(fit.model.extras["stage"].second) == (epoch >= 8)
        if epoch >= 8:
            assert fit.meters.means().keys() >= {"loss/fused"}


def plain_prediction(rows: list[list[float]], temperature: float) -> list[float]:
    certainty = []
    for row in rows:
        total = sum(math.exp(x) for x in row)
        certainty.append(math.exp(max(math.exp(x) / total for x in row) / temperature))
    return [
        sum(w * row[c] for w, row in zip(certainty, rows, strict=True)) / sum(certainty) for c in range(len(rows[0]))
    ]


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_predictions_are_weighted_by_certainty(count: int, temperature: float) -> None:
    method = DiMml(certainty=temperature, second=0.5)
    fit = make_fit(method, NAMES[:count], epochs=4, **DOUBLE)
    whole = whole_batch(fit)
    has = torch.arange(24) % 3 > 0
    inputs = Inputs(whole.inputs.values, present={"audio": has})
    for epoch in (1, 4):
        at_epoch(method, fit, epoch)
        plain = fit.model(inputs)
        found = method.predict(fit.model, inputs).logits
        for i in range(24):
            rows = [z[i].tolist() for m, z in plain.own_logits.items() if m != "audio" or has[i]]
            rows += [plain.logits[i].tolist()] if epoch == 4 else []
            assert found[i].tolist() == pytest.approx(plain_prediction(rows, temperature), rel=1e-9)


def test_the_stage_is_kept_with_the_weights() -> None:
    method = DiMml(second=0.5)
    fit = make_fit(method, epochs=4)
    kept = {n: v.clone() for n, v in fit.model.state_dict().items()}
    inputs = whole_batch(fit).inputs
    before = method.predict(fit.model, inputs).logits
    at_epoch(method, fit, 4)
    assert not torch.equal(method.predict(fit.model, inputs).logits, before)
    fit.model.load_state_dict(kept)
    assert torch.equal(method.predict(fit.model, inputs).logits, before)
    large = by_certainty(torch.tensor([[[1e4, 0.0]], [[0.0, 0.0]]]), 0.01)
    assert large.isfinite().all()


def test_samples_that_lack_a_modality_are_no_part_of_its_contrasts() -> None:
    method = DiMml(start=0.0, temperature=2.0)
    fit = make_fit(method, NAMES[:2], epochs=10, **DOUBLE)
    whole = whole_batch(fit)
    has = torch.arange(24) % 3 > 0
    batch = Batch(Inputs(whole.inputs.values, present={"audio": has}), whole.target, whole.index)
    at_epoch(method, fit, 1)
    good = dict(zip(NAMES[:2], method.state_dict()["effective"].tolist(), strict=True))
    outputs = method.forward(batch)
    terms = method.loss(outputs, batch)
    for t, s in (NAMES[:2], NAMES[1::-1]):
        chosen = [k for k, (a, b) in enumerate(zip(good[t], good[s], strict=True)) if a and not b]
        if chosen:
            kept = has.nonzero()[:, 0].tolist()
            want = plain_contrast(outputs.features[s], outputs.features[t], chosen, 2.0, kept).item()
            assert terms[f"contrast/{t}/{s}"].item() == pytest.approx(want, rel=1e-8)
    assert any(terms[n].item() > 0 for n in terms if n.startswith("contrast/"))
