"""The proximal term (a / 2) sum_i F_i (theta_i - theta_i(0))^2 with a Fisher information F_i for every weight."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


@torch.no_grad()
def with_squares(sums: Sequence[Tensor], parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Sums with the squares of the parameters' gradients added, in their order; the first time from no sums.

    >>> weight = nn.Parameter(torch.zeros(2))
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> with_squares(with_squares([], [weight]), [weight])
    [tensor([18., 32.])]
    """
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    squares = torch._foreach_mul(gradients, gradients) if gradients else ()
    return [*squares] if not sums or not gradients else [*torch._foreach_add(list(sums), list(squares))]


@torch.no_grad()
def pull_back_stiffly(
    parameters: Sequence[nn.Parameter],
    start: Sequence[Tensor],
    fisher: Sequence[Tensor],
    strength: float,
    limits: Sequence[float],
) -> None:
    """Add min(`strength` F, limit) (theta - theta(0)) to the gradients of parameters theta that have one.

    start: theta(0). fisher: F. limits: the largest stiffness of each parameter. All are in the parameters' order.

    >>> weight = nn.Parameter(torch.tensor([3.0, 3.0]))
    >>> weight.grad = torch.tensor([1.0, 1.0])
    >>> pull_back_stiffly([weight], [torch.tensor([1.0, 1.0])], [torch.tensor([0.1, 9.0])], 5.0, [10.0])
    >>> weight.grad
    tensor([ 2., 21.])
    """
    rows = zip(parameters, start, fisher, limits, strict=True)
    pulled = [(p.detach(), p.grad, before, f, limit) for p, before, f, limit in rows if p.grad is not None]
    if not pulled:
        return
    values, gradients, origins, information, most = (list(column) for column in zip(*pulled, strict=True))
    stiffness = torch._foreach_clamp_max(torch._foreach_mul(information, strength), most)
    torch._foreach_addcmul_(gradients, stiffness, torch._foreach_sub(values, origins))


def inverse_rates(optimizer: Optimizer, parameters: Sequence[nn.Parameter]) -> list[float]:
    """1 / learning rate of each parameter: the stiffness that takes it back to its start in a plain gradient step.

    >>> weight = nn.Parameter(torch.zeros(1))
    >>> inverse_rates(torch.optim.SGD([weight], lr=0.5), [weight])
    [2.0]
    """
    rates = {id(p): float(group["lr"]) for group in optimizer.param_groups for p in group["params"]}
    return [1.0 / rate if (rate := rates.get(id(p), 0.0)) else torch.inf for p in parameters]
