"""Linear heads: written-out gradients equal autograd's, and the fit reaches what autograd's L-BFGS reaches."""

import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.core.seeds import generator
from mcr_bench.bench.task import Task
from mcr_bench.bench.training.linear_head import L2, absolute_error, binary_cross_entropy, cross_entropy, fit_linear

TASKS = [Task(2), Task(5), Task(31), Task(None), Task(None, labels=4), Task(None, scores=3)]


def drawn(task: Task, count: int, width: int) -> tuple[Tensor, Tensor]:
    """Features (count, width) and the targets of a task."""
    draws = generator(count, "data", "head")
    features = torch.randn(count, width, generator=draws)
    several = (count, task.outputs) if task.labels or task.scores else (count,)
    if task.regression:
        return features, torch.randn(several, generator=draws)
    if task.multi_label:
        return features, torch.randint(0, 2, several, generator=draws).float()
    return features, torch.randint(0, task.outputs, (count,), generator=draws)


@pytest.mark.parametrize("count", [1, 7, 1000])
@pytest.mark.parametrize("task", TASKS)
def test_loss_and_gradient_equal_those_of_autograd(task: Task, count: int) -> None:
    logits, target = 4 * drawn(task, count, task.outputs)[0].double(), drawn(task, count, 1)[1]
    target = target if task.classes else target.double()
    leaf = logits.clone().requires_grad_()
    expected = task.loss(leaf, target)
    expected.backward()
    wanted = nn.functional.one_hot(target, task.outputs).double() if task.classes else target
    of = absolute_error if task.regression else binary_cross_entropy if task.multi_label else cross_entropy
    loss, slope = of(logits.T, wanted.T if wanted.ndim > 1 else wanted)
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(slope.T, leaf.grad, rtol=1e-10, atol=1e-15)


def test_the_gradient_of_saturated_logits_is_finite() -> None:
    loss, slope = cross_entropy(torch.tensor([[3e4, -3e4], [-3e4, 3e4]]), torch.eye(2).flip(0))
    assert loss.isfinite()
    assert slope.isfinite().all()


@pytest.mark.parametrize("task", TASKS)
def test_a_fit_goes_where_autograd_goes(task: Task) -> None:
    features, target = drawn(task, 200, 6)
    features = features.double()
    target = target.double() if task.regression else target
    head, other = (nn.Linear(6, task.outputs, dtype=torch.float64) for _ in range(2))
    other.load_state_dict(head.state_dict())
    fit_linear(head, features, target, task, 5)
    optimizer = torch.optim.LBFGS(other.parameters(), max_iter=5, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = task.loss(other(features), target) + L2 * other.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(head.weight, other.weight, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(head.bias, other.bias, rtol=1e-8, atol=1e-10)


def test_a_fit_leaves_nothing_behind_but_its_weights() -> None:
    features, target = drawn(Task(3), 50, 4)
    head, state = nn.Linear(4, 3), torch.get_rng_state()
    before = features.clone()
    fit_linear(head, features, target, Task(3), 20)
    assert head.weight.grad is None
    assert features.grad is None
    assert torch.equal(features, before)
    assert torch.equal(torch.get_rng_state(), state)
