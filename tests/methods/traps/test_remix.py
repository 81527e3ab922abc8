"""Remix: as released, every epoch trains the blocks in the same order; in the variant of the paper it is drawn."""

import numpy as np
import pytest
import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.testing.fits import NAMES
from mcr_bench.bench.testing.trials.epochs import batches
from mcr_bench.methods.multi_loss import MultiLoss
from mcr_bench.methods.remix import Remix
from mcr_bench.tests.methods.golden.test_remix import plain_choice, prepared

Step = tuple[str, dict[str, Tensor]]


def drawn_sequence(fit: Fit, count: int) -> list[str]:
    """The order of the blocks that the draws of this epoch give."""
    draws = {m: float(torch.rand((), generator=fit.generator("block", m))) for m in NAMES[:count]}
    return sorted(draws, key=draws.__getitem__)


def expected(count: int, step: int, fixed: bool) -> list[Step]:
    """Of each step of an epoch the modality that it trains, and the gradient at the first weights."""
    fit = prepared(MultiLoss(), count)
    fit.step = step
    choice = plain_choice(fit)
    sequence = list(NAMES[:count])[::-1] if fixed else drawn_sequence(fit, count)
    steps = []
    for m in sequence:
        samples = [i for i in fit.order().tolist() if choice[i] == m]
        if m != sequence[-1]:
            samples = list(np.resize(samples, -(-len(samples) // 8) * 8))
        for start in range(0, len(samples), 8):
            batch = fit.train.batch(torch.tensor(samples[start : start + 8]))
            f = fit.model.encode_one(m, batch.inputs.values[m])
            z = f @ fit.model.fusion.slices[m].weight.T + fit.model.fusion.bias
            loss = fit.task.loss(z, batch.target) + fit.task.loss(fit.model.own_heads[m](f), batch.target)
            names = [n for n, _ in fit.model.named_parameters() if f".{m}." in n]
            parameters = [fit.model.get_parameter(n) for n in names]
            steps.append((m, dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))))
    return steps


def found(method: Remix, count: int, step: int) -> list[Step]:
    """The same of the method."""
    fit = prepared(method, count)
    fit.step, steps = step, []
    for batch in batches(method):
        (m,) = [m for m in NAMES[:count] if m not in batch.dropped]
        fit.zero_grad()
        method.backward(method.loss(method.forward(batch), batch))
        steps.append((m, {n: p.grad.clone() for n, p in fit.model.named_parameters() if f".{m}." in n}))
    return steps


def require_rule(method: Remix, count: int, step: int, fixed: bool) -> None:
    mine, theirs = found(method, count, step), expected(count, step, fixed)
    assert [m for m, _ in mine] == [m for m, _ in theirs]
    torch.testing.assert_close([g for _, g in mine], [g for _, g in theirs], rtol=1e-9, atol=1e-12)


def other_step(count: int) -> int:
    """A step whose draws give another order than the released one."""
    fit = prepared(MultiLoss(), count)
    for fit.step in range(20):
        if drawn_sequence(fit, count)[0] == NAMES[0]:
            return fit.step
    raise AssertionError("all draws are the same")


@pytest.mark.parametrize("count", [2, 3])
def test_official_is_the_released_rule_and_paper_is_another(count: int) -> None:
    step = other_step(count)
    require_rule(Remix(variant="official"), count, step, fixed=True)
    require_rule(Remix(variant="paper"), count, step, fixed=False)
    (_, mine), (_, theirs) = found(Remix(variant="paper"), count, step)[0], expected(count, step, fixed=True)[0]
    assert all(float(g.norm()) > 1e-3 for g in (*mine.values(), *theirs.values()))
    assert not set(mine) & set(theirs), "the first step trains another modality"


class AudioLast(Remix):
    """The defect in the rule of the paper."""

    @property
    def official(self) -> bool:
        return True


def test_the_defect_in_the_rule_of_the_paper_is_seen() -> None:
    with pytest.raises(AssertionError):
        require_rule(AudioLast(), 2, other_step(2), fixed=False)


def test_every_released_epoch_ends_on_the_first_modality() -> None:
    for step in range(5):
        assert found(Remix(variant="official"), 3, step)[-1][0] == NAMES[0]
