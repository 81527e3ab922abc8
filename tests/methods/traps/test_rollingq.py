"""RollingQ's official code measures the imbalance on the last batch of an epoch alone, and hurries the schedule."""

import math

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.testing.fits import whole_batch
from mcr_bench.bench.testing.trials.epochs import batches, begin_epoch, end_epoch, make_step
from mcr_bench.methods.rollingq import RollingQ
from mcr_bench.tests.methods.golden.attention_rule import (
    anchor_of,
    head_of,
    imbalances,
    logits_of,
    query_of,
    started,
    values_of,
)

SIGMA = 2.0
ONE = torch.eye(6, dtype=torch.float64)


def epoch_of(method: RollingQ) -> tuple[Fit, list[list[float]]]:
    """A fit after an epoch without learning, and the imbalances of the samples of each of its batches."""
    fit, seen = started(method), []
    with torch.no_grad():  # so that attention depends on the query, and imbalances on the samples
        head_of(fit).key.weight.mul_(3)
        head_of(fit).token.mul_(20)
    begin_epoch(method)
    for batch in batches(method):
        seen.append(imbalances(fit, ONE, batch.inputs.values))
        make_step(method, batch)
    end_epoch(method)
    return fit, seen


def turned(fit: Fit, air: float) -> Tensor:
    """The query that the rule turns to: the direction of the anchor, with the length of the query."""
    query, wanted = query_of(fit, ONE), anchor_of(fit, air, SIGMA)
    return wanted * query.norm() / wanted.norm()


def plane_rotation(start: Tensor, end: Tensor) -> Tensor:
    """By Rodrigues' formula for any number of axes: 1 + A + A^2 / (1 + cos), A = v u^T - u v^T."""
    u, v = start / start.norm(), end / end.norm()
    a = torch.outer(v, u) - torch.outer(u, v)
    return ONE + a + a @ a / (1 + u @ v)


def gradient(fit: Fit, logits: Tensor) -> Tensor:
    learned = [p for _, p, owner in fit.model.owned() if owner.role != "own_head"]
    loss = fit.task.loss(logits, whole_batch(fit).target)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, learned)])


def of_method(fit: Fit, method: RollingQ) -> Tensor:
    return gradient(fit, method.forward(whole_batch(fit)).logits)


def by_rule(fit: Fit, air: float, turns: bool = True) -> Tensor:
    rotation = plane_rotation(query_of(fit, ONE).detach(), turned(fit, air).detach()) if turns else ONE
    return gradient(fit, logits_of(fit, rotation, values_of(fit)))


def apart(one: Tensor, other: Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_official_is_the_last_batch_and_paper_is_the_epoch() -> None:
    official, paper = RollingQ(variant="official", sigma=SIGMA), RollingQ(sigma=SIGMA)
    (fit, seen), (other, same) = epoch_of(official), epoch_of(paper)
    assert seen == same
    assert len({len(batch) for batch in seen}) > 1, "the last batch is a smaller one"
    rule = by_rule(fit, mean(seen[-1]))
    assert apart(of_method(fit, official), rule) < 1e-9
    assert apart(of_method(other, paper), rule) > 1e-3


def test_whether_it_turns_is_decided_by_the_last_batch_too() -> None:
    _, seen = epoch_of(RollingQ())
    last, every = abs(mean(seen[-1])), abs(mean([air for batch in seen for air in batch]))
    beta = (last + every) / 2
    official, paper = RollingQ(variant="official", beta=beta, sigma=SIGMA), RollingQ(beta=beta, sigma=SIGMA)
    (fit, _), (other, _) = epoch_of(official), epoch_of(paper)
    rule = by_rule(fit, mean(seen[-1]), turns=last > beta)
    assert apart(of_method(fit, official), rule) < 1e-9
    assert apart(of_method(other, paper), rule) > 1e-3


def require_epoch(method: RollingQ) -> None:
    fit, seen = epoch_of(method)
    assert apart(of_method(fit, method), by_rule(fit, mean([air for batch in seen for air in batch]))) < 1e-9


def test_the_defect_in_the_paper_s_rule_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    require_epoch(RollingQ(sigma=SIGMA))
    monkeypatch.setattr(RollingQ, "official", True)
    with pytest.raises(AssertionError):
        require_epoch(RollingQ(sigma=SIGMA))


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_the_schedule_advances_once_for_each_step(variant: str) -> None:
    """Official code: once more after each epoch. A cosine over 3 epochs of 4 steps."""
    method = RollingQ(variant=variant)
    fit = started(method, lr=0.01, schedule__name="cosine", epochs=3)
    rates = []
    for _ in range(3):
        begin_epoch(method)
        for batch in batches(method):
            make_step(method, batch)
            rates.append(fit.optimizer.param_groups[0]["lr"])
        end_epoch(method)
        assert fit.optimizer.param_groups[0]["lr"] == rates[-1]
    assert rates == pytest.approx([0.005 * (1 + math.cos(math.pi * i / 12)) for i in range(12)], rel=1e-9)
