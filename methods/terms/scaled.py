"""The identity, with a backward pass that multiplies the gradient by a factor."""

from typing import Any

import torch
from torch import Tensor


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float | Tensor) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.factor, None


def scale_gradient(x: Tensor, factor: float | Tensor) -> Tensor:
    """x of any shape, unchanged; its gradient is multiplied by `factor`, a number or a tensor that is broadcast.

    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> scale_gradient(x, 3.0).sum().backward()
    >>> x.grad
    tensor([3., 3.])
    """
    scaled: Tensor = _ScaleGradient.apply(x, factor)  # type: ignore[no-untyped-call]
    return scaled
