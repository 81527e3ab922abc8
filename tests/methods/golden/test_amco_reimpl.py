"""AMCo-reimpl: the schedule, who dominates, what is masked, and the loss, by plain Python."""

import math

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, whole_batch
from mcr_bench.datasets.base import Batch, Inputs
from mcr_bench.methods.amco_reimpl import AmcoReimpl, dominance, kept_places, masked_share


@pytest.mark.parametrize("eps", [0.3, 0.8])
def test_the_schedule(eps: float) -> None:
    for epoch in range(1, 11):
        method = AmcoReimpl(eps=eps)
        fit = make_fit(method, epochs=10)
        fit.epoch = epoch
        done = (epoch - 1) / 10
        expected = 1.0 if done >= eps else math.sin(math.pi * done / (2 * eps))
        assert method.share == pytest.approx(expected, abs=1e-12)
    assert masked_share(eps / 3, eps) == pytest.approx(0.5)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_dominance_by_loops(count: int) -> None:
    draws = torch.Generator().manual_seed(count)
    logits = 2 * torch.randn(count, 7, 5, generator=draws, dtype=torch.float64)
    having = torch.rand(count, 7, generator=draws) < 0.7
    having[0] = True
    for kept in (None, having):
        expected, rows = [0.0] * count, [i for i in range(7) if kept is None or kept[:, i].sum() > 1]
        assert len(rows) >= 3
        for i in rows:
            sums = [sum(math.exp(x) for x in z[i].tolist()) for z in logits]
            sums = [s if kept is None or kept[m, i] else 0.0 for m, s in enumerate(sums)]
            expected = [e + s / sum(sums) / len(rows) for e, s in zip(expected, sums, strict=True)]
        assert dominance(logits, kept).tolist() == pytest.approx(expected, rel=1e-9)


def test_no_share_is_more_than_one() -> None:
    draws = torch.Generator().manual_seed(0)
    for _ in range(50):
        logits = torch.randn(2, 3, 6, generator=draws)
        logits[1] -= 1000
        assert dominance(logits)[0] <= 1


@pytest.mark.parametrize("alone", [0, 12, 24])
def test_a_modality_alone_dominates_nobody(alone: int) -> None:
    """Video dominates the samples that have both; the `alone` first ones lack it."""
    method = AmcoReimpl()
    fit = make_fit(method, NAMES[:2], Task(4), dtype=torch.float64, epochs=10)
    with torch.no_grad():
        fit.model.own_heads["video"].bias.add_(1)
    fit.epoch, whole = 10, whole_batch(fit)
    has = torch.arange(24) >= alone
    batch = Batch(Inputs(whole.inputs.values, present={"video": has}), whole.target, whole.index)
    masked = {m for m, z in method.forward(batch).own_logits.items() if not z.any()}
    assert masked == ({"video"} if alone < 24 else set())


@pytest.mark.parametrize(("classes", "masked"), [(4, 0), (4, 1), (6, 4), (3, 3)])
def test_so_many_places_of_every_row_are_masked_and_none_is_preferred(classes: int, masked: int) -> None:
    kept = kept_places(4000, classes, masked, torch.Generator().manual_seed(1))
    assert kept.sum(1).tolist() == [classes - masked] * 4000
    deviation = math.sqrt(masked / classes * (1 - masked / classes) / 4000)
    assert (kept.mean(0) - (1 - masked / classes)).abs().max() <= 4.5 * deviation + 1e-6


def own_logits(fit: Fit) -> dict[str, Tensor]:
    return fit.model(whole_batch(fit).inputs).own_logits  # type: ignore[no-any-return]


def cross_entropy(logits: Tensor, target: Tensor) -> float:
    rows = zip(logits.tolist(), target.tolist(), strict=True)
    return sum(math.log(sum(math.exp(x) for x in row)) - row[y] for row, y in rows) / len(target)


def prepared(method: AmcoReimpl, count: int, classes: int) -> Fit:
    """A fit whose first modality has logits that dominate."""
    fit = make_fit(method, NAMES[:count], Task(classes), dtype=torch.float64, epochs=10)
    with torch.no_grad():
        fit.model.own_heads["audio"].bias.add_(3)
    return fit


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(("epoch", "masked"), [(1, 0), (2, 2), (3, 4), (4, 5), (9, 5)])
def test_the_loss_of_an_epoch(count: int, epoch: int, masked: int) -> None:
    """Of 5 classes floor(5 sin(pi/2 min(1, (epoch - 1) / 3))) are masked."""
    method = AmcoReimpl()
    fit = prepared(method, count, 5)
    fit.epoch, batch = epoch, whole_batch(fit)
    before = own_logits(fit)
    outputs = method.forward(batch)
    terms = method.loss(outputs, batch)
    changed = outputs.own_logits["audio"] != before["audio"]
    assert changed.sum(1).tolist() == [masked] * len(batch.target)
    assert not outputs.own_logits["audio"][changed].any()
    if 0 < masked < 5:
        assert len(changed.unique(dim=0)) > 1, "each sample has a mask of its own"
    for m in NAMES[1:count]:
        assert torch.equal(outputs.own_logits[m], before[m])
    for m, z in outputs.own_logits.items():
        assert terms[f"own/{m}"].item() == pytest.approx(cross_entropy(z, batch.target), rel=1e-9)
    fused = torch.stack(list(outputs.own_logits.values())).sum(0)
    assert terms["fused"].item() == pytest.approx(cross_entropy(fused, batch.target), rel=1e-9)


def test_nobody_dominates_at_a_share_of_one_and_nobody_is_masked_in_prediction() -> None:
    for method, same in ((AmcoReimpl(sigma=1.0), True), (AmcoReimpl(), False)):
        fit = prepared(method, 2, 4)
        fit.epoch, batch = 10, whole_batch(fit)
        before = own_logits(fit)
        assert torch.equal(method.forward(batch).own_logits["audio"], before["audio"]) == same
        predicted = method.predict(fit.model, batch.inputs)
        assert torch.equal(predicted.logits, before["audio"] + before["video"])


def test_masked_logits_have_no_gradient() -> None:
    method = AmcoReimpl()
    fit = prepared(method, 2, 4)
    fit.epoch, batch = 10, whole_batch(fit)  # all logits of the one that dominates are masked
    sum(method.loss(method.forward(batch), batch).values(), torch.zeros(())).backward()
    assert not any(p.grad is not None and p.grad.any() for p in fit.model.parameters_of("audio", "encoder"))
    assert all(p.grad is not None and p.grad.any() for p in fit.model.parameters_of("video", "own_head"))


def test_an_absent_modality_counts_nowhere() -> None:
    method = AmcoReimpl(sigma=1.0)
    fit = prepared(method, 3, 4)
    fit.epoch, whole = 10, whole_batch(fit)
    has = torch.arange(len(whole.target)) % 3 > 0
    batch = Batch(Inputs(whole.inputs.values, present={"audio": has}), whole.target, whole.index)
    before = own_logits(fit)
    outputs = method.forward(batch)
    expected = before["video"] + before["text"] + torch.where(has[:, None], before["audio"], 0.0)
    torch.testing.assert_close(outputs.logits, expected)
    shares = dominance(torch.stack(list(before.values()))[:, has]).sum()
    assert shares.item() == pytest.approx(1)
    assert fit.meters.means()["dominance/audio"] < dominance(torch.stack(list(before.values())))[0].item()
