"""The written-out gradient of the loss equals autograd's to the last bit, and so do probe heads fitted with it."""

import pytest
import torch
from torch import nn

from mcr_bench.bench.core.seeds import generator
from mcr_bench.bench.task import Task


def drawn(task: Task, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (count, C) and a target (count,) of a task."""
    draws = generator(count, "data", "slope")
    logits = 4 * torch.randn(count, task.outputs, generator=draws)
    if task.regression:
        return logits, torch.randn(count, generator=draws)
    return logits, torch.randint(0, task.outputs, (count,), generator=draws)


@pytest.mark.parametrize("count", [1, 7, 1000])
@pytest.mark.parametrize("task", [Task(2), Task(5), Task(31), Task(None)])
def test_loss_and_slope_equal_those_of_autograd(task: Task, count: int) -> None:
    logits, target = drawn(task, count)
    leaf = logits.clone().requires_grad_()
    task.loss(leaf, target).backward()
    loss, slope = task.loss_and_slope(logits, target)
    assert torch.equal(loss, task.loss(logits, target))
    assert torch.equal(slope, leaf.grad)


@pytest.mark.parametrize("task", [Task(3), Task(None)])
def test_slope_of_saturated_logits_is_finite(task: Task) -> None:
    logits, target = drawn(task, 4)
    _, slope = task.loss_and_slope(1e4 * logits, target)
    assert slope.isfinite().all()


def test_the_gradient_of_a_linear_head_follows_from_the_slope() -> None:
    features, target = torch.randn(50, 7, generator=generator(0, "data", "f")), torch.arange(50) % 4
    head = nn.Linear(7, 4)
    Task(4).loss(head(features), target).backward()
    _, slope = Task(4).loss_and_slope(head(features), target)
    torch.testing.assert_close(head.weight.grad, slope.T @ features)
    torch.testing.assert_close(head.bias.grad, slope.sum(0))
