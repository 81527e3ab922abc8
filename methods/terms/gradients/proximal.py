"""The proximal term (a / 2) ||theta - theta(0)||^2, which holds parameters near earlier values, by its gradient."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def copies(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """The present values of parameters, which later steps do not change.

    >>> copies([nn.Parameter(torch.ones(1))])
    [tensor([1.])]
    """
    return [p.detach().clone() for p in parameters]


@torch.no_grad()
def pull_back(parameters: Sequence[nn.Parameter], start: Sequence[Tensor], strength: Tensor | float) -> None:
    """Add `strength` (theta - theta(0)) to the gradients of parameters theta; those without a gradient get none.

    start: theta(0), in the order of the parameters. strength: a number or a tensor ().

    >>> weight = nn.Parameter(torch.tensor([3.0]))
    >>> weight.grad = torch.tensor([1.0])
    >>> pull_back([weight], [torch.tensor([1.0])], strength=0.5)
    >>> weight.grad
    tensor([2.])
    """
    pulled = [(p, p.grad, before) for p, before in zip(parameters, start, strict=True) if p.grad is not None]
    if pulled:
        values, gradients, origins = (list(column) for column in zip(*pulled, strict=True))
        moved = torch._foreach_sub(values, origins)
        torch._foreach_add_(gradients, torch._foreach_mul(moved, strength))


def squared_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """The sum () of the squares of all elements of the parameters' gradients; 0 where there are none.

    >>> weight = nn.Parameter(torch.zeros(2))
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> squared_norm([weight])
    tensor(25.)
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros((), device=parameters[0].device)
    return torch.stack(torch._foreach_norm(gradients)).square().sum()
