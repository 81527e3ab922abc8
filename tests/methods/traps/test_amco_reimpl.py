"""AMCo-reimpl: as released, masks come and go within an epoch, and all samples of a batch share one."""

import math

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.testing.fits import whole_batch
from mcr_bench.methods.amco_reimpl import AmcoReimpl
from mcr_bench.tests.methods.golden.test_amco_reimpl import own_logits, prepared


def released_shares(epoch: int, steps: int) -> list[float]:
    """p of the steps of an epoch that is counted from 0: l starts at 0 and grows by epoch / 10 in every step."""
    shares, progress = [], 0.0
    for _ in range(steps):
        shares.append(math.sin(math.pi / 2 * min(0.3, progress) / 0.3))
        progress += epoch / 10
    return shares


def at(method: AmcoReimpl, count: int, epoch: int, position: int) -> Fit:
    """The fit at a step of an epoch, both counted from 0, of epochs of 5 steps."""
    fit = prepared(method, count, 4)
    fit.epoch, fit.step = epoch + 1, 5 * epoch
    method.on_epoch_start()
    fit.step += position + 1
    return fit


@pytest.mark.parametrize("epoch", [0, 1, 2, 3, 7])
def test_the_released_schedule(epoch: int) -> None:
    for position, expected in enumerate(released_shares(epoch, 5)):
        method = AmcoReimpl(variant="official")
        at(method, 2, epoch, position)
        assert method.share == pytest.approx(expected, abs=1e-9)


def test_the_released_schedule_in_words() -> None:
    assert released_shares(0, 9) == [0.0] * 9
    assert released_shares(1, 5)[0] == 0
    assert released_shares(1, 5)[3:] == pytest.approx([1, 1])
    assert released_shares(3, 3) == pytest.approx([0, 1, 1])


def gradient(fit: Fit, loss: Tensor) -> Tensor:
    at = [*fit.model.encoders.parameters(), *fit.model.own_heads.parameters()]
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, at, materialize_grads=True)])


def of_method(method: AmcoReimpl, count: int, epoch: int, position: int) -> Tensor:
    fit = at(method, count, epoch, position)
    batch = whole_batch(fit)
    return gradient(fit, torch.stack(list(method.loss(method.forward(batch), batch).values())).sum())


def released(count: int, epoch: int, position: int) -> Tensor:
    """The gradient of the released rule at steps in which all logits, or none, of the first modality are masked."""
    fit = at(AmcoReimpl(), count, epoch, position)
    number = int(released_shares(epoch, position + 1)[-1] * 4)
    assert number in (0, 4)
    own, target = list(own_logits(fit).values()), whole_batch(fit).target
    own[0] = own[0] * float(number == 0)
    entropy = torch.nn.functional.cross_entropy
    return gradient(fit, entropy(torch.stack(own).sum(0), target) + sum(entropy(z, target) for z in own))


def apart(one: Tensor, other: Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(("epoch", "position"), [(0, 4), (1, 0), (1, 3), (5, 0), (3, 1)])
def test_official_is_the_released_rule(count: int, epoch: int, position: int) -> None:
    rule = released(count, epoch, position)
    assert apart(of_method(AmcoReimpl(variant="official"), count, epoch, position), rule) < 1e-9


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(("epoch", "position"), [(1, 0), (1, 4), (5, 0)])
def test_paper_is_another(count: int, epoch: int, position: int) -> None:
    assert apart(of_method(AmcoReimpl(), count, epoch, position), released(count, epoch, position)) > 1e-3


@pytest.mark.parametrize("count", [2, 3])
def test_a_batch_shares_one_mask(count: int) -> None:
    """p = sin(pi / 6) = 0.5 in the second step of the second epoch: two of four logits."""
    rows = {}
    for variant in ("official", "paper"):
        method = AmcoReimpl(variant=variant)
        fit = at(method, count, 1, 1)
        masked = method.forward(whole_batch(fit)).own_logits["audio"] == 0
        rows[variant] = len(masked.unique(dim=0))
        assert masked.sum(1).unique().tolist() == [2]
    assert rows["official"] == 1
    assert rows["paper"] > 1


def require_growth(method: AmcoReimpl) -> None:
    """The share does not depend on the step within an epoch, and never falls."""
    shares = []
    for epoch in range(10):
        for position in range(3):
            at(method, 2, epoch, position)
            shares.append(method.share)
    assert shares == sorted(shares)
    assert len(set(shares)) == 4


def test_the_defect_in_the_paper_s_rule_would_be_seen() -> None:
    require_growth(AmcoReimpl())
    with pytest.raises(AssertionError):
        require_growth(AmcoReimpl(variant="official"))
