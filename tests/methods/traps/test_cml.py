"""CML has none of the three defects of the implementation in BalanceBenchmark, which are told from it by gradients."""

import pytest
import torch
from torch import Tensor

from mcr_bench.methods.terms.games.confidence import rises


def correct(sets: Tensor, target: Tensor) -> Tensor:
    """The sum over samples and removals of the rise of the confidence where the larger set is right."""
    p, total = sets.softmax(-1), sets.new_zeros(())
    for k in range(len(sets) - 1):
        for i, y in enumerate(target.tolist()):
            larger, smaller = p[k, i], p[k + 1, i]
            if larger.argmax() == y and smaller.max() > larger.max():
                total = total + smaller.max() - larger.max()
    return total


def positive_part_of_the_sum(sets: Tensor, target: Tensor) -> Tensor:
    confidence, prediction = sets.softmax(-1).max(-1)
    return ((confidence[1:] - confidence[:-1]) * (prediction[:-1] == target)).sum(1).relu().sum()


def mask_that_is_dropped(sets: Tensor, _target: Tensor) -> Tensor:
    confidence = sets.softmax(-1).amax(-1)
    return (confidence[1:] - confidence[:-1]).relu().sum()


def shares_subtracted(sets: Tensor, target: Tensor) -> Tensor:
    """The logits of a smaller set as the larger one's minus a share, here half of what the prediction loses."""
    return correct(torch.stack([sets[0], *(sets[0] - (sets[0] - z) / 2 for z in sets[1:])]), target)


def gradient(rule: object, sets: Tensor, target: Tensor) -> Tensor:
    assert callable(rule)
    sets = sets.clone().requires_grad_()
    (found,) = torch.autograd.grad(rule(sets, target), sets)
    return found


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("defect", [positive_part_of_the_sum, mask_that_is_dropped, shares_subtracted])
def test_the_defect_is_not_there_and_would_fail_this_test(count: int, defect: object) -> None:
    draws = torch.Generator().manual_seed(count)
    sets = 2 * torch.randn(count, 12, 4, generator=draws, dtype=torch.float64)
    target = torch.where(torch.arange(12) % 3 > 0, sets[0].argmax(-1), torch.zeros(12, dtype=torch.int64))
    want = gradient(correct, sets, target)
    torch.testing.assert_close(gradient(lambda z, y: rises(z, y).sum(), sets, target), want, rtol=1e-9, atol=1e-12)
    assert (gradient(defect, sets, target) - want).norm() / want.norm() > 1e-3
