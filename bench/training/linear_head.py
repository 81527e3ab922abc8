"""A linear head fitted to fixed features: a short, convex problem that a run solves for every modality and epoch.

Its loss and gradient are written out with the classes on the first axis: a quarter of the time that autograd takes.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mcr_bench.bench.task import Task

Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

L2 = 1e-4  # weight decay that keeps the heads of separable problems finite; our choice


def fit_linear(head: nn.Linear, features: Tensor, target: Tensor, task: Task, iterations: int) -> None:
    """Minimise the task's loss + L2 ||W||^2 over features (N, d) and their targets, in place, from the head's weights.

    At most `iterations` of L-BFGS are made. No random number is drawn, and nothing else gets a gradient.
    """
    weight, bias = head.weight.detach(), head.bias.detach()
    point = nn.Parameter(torch.cat((weight.flatten(), bias)))  # one parameter: L-BFGS handles each in a loop of its own
    point.grad = torch.empty_like(point)
    (w, b), (w_slope, b_slope) = (_halves(x, weight) for x in (point.detach(), point.grad))
    columns = features.T.contiguous()
    loss_of, wanted = _loss_of(task), _wanted(task, target).to(features)
    optimizer = torch.optim.LBFGS([point], max_iter=iterations, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        logits = torch.addmm(b[:, None], w, columns)
        loss, slope = loss_of(logits, wanted)
        torch.mm(slope, features, out=w_slope).add_(w, alpha=2 * L2)
        torch.sum(slope, 1, out=b_slope)
        return loss + L2 * w.square().sum()

    with torch.no_grad():
        optimizer.step(closure)
        weight.copy_(w)
        bias.copy_(b)


def cross_entropy(logits: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The mean cross-entropy () of logits (C, N), and its gradient by them, (C, N). wanted: (C, N), 1 where true.

    >>> cross_entropy(torch.zeros(2, 1), torch.tensor([[0.0], [1.0]]))[1].T
    tensor([[ 0.5000, -0.5000]])
    """
    logarithms = logits.log_softmax(0)
    count = logits.shape[1]
    return -(logarithms * wanted).sum() / count, logarithms.exp().sub_(wanted).div_(count)


def binary_cross_entropy(logits: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The mean binary cross-entropy () of logits (L, N), and its gradient by them, (L, N). wanted: (L, N), 0 or 1.

    >>> binary_cross_entropy(torch.zeros(2, 1), torch.tensor([[0.0], [1.0]]))[1].T
    tensor([[ 0.2500, -0.2500]])
    """
    loss = F.binary_cross_entropy_with_logits(logits, wanted)
    return loss, logits.sigmoid().sub_(wanted).div_(logits.numel())


def absolute_error(outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The mean absolute error () of outputs (K, N), and its gradient by them, (K, N). target: (K, N), or (N,).

    >>> absolute_error(torch.tensor([[1.0, 4.0]]), torch.tensor([2.0, 2.0]))
    (tensor(1.5000), tensor([[-0.5000,  0.5000]]))
    """
    errors = outputs - target
    return errors.abs().mean(), errors.sign() / errors.numel()


def _loss_of(task: Task) -> Loss:
    if task.regression:
        return absolute_error
    return binary_cross_entropy if task.multi_label else cross_entropy


def _wanted(task: Task, target: Tensor) -> Tensor:
    """(C, N): scores, or 1 where the class or label is true."""
    if task.classes is None:
        return target.reshape(len(target), -1).T.contiguous()
    return torch.arange(task.outputs, device=target.device)[:, None] == target


def _halves(point: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The parts of a point that are the weights, as (C, d), and the biases (C,); both share its memory."""
    return point[: weight.numel()].view_as(weight), point[weight.numel() :]
