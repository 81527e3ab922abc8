"""Gradient clipping that acts only if a gradient of chosen parameters is large, and does not wait for the device."""

from collections.abc import Iterable

import torch
from torch import nn


def clip_if_large(watched: Iterable[nn.Parameter], parameters: Iterable[nn.Parameter], limit: float) -> None:
    """Scale all gradients down to a total norm of at most `limit`, in place, if a watched one is large.

    A gradient is large if one of its elements is below -limit or above limit.

    >>> weight = nn.Parameter(torch.zeros(2))
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> clip_if_large([weight], [weight], limit=1.0)
    >>> weight.grad
    tensor([0.6000, 0.8000])
    """
    large = torch._foreach_norm([p.grad for p in watched if p.grad is not None], float("inf"))
    gradients = [p.grad for p in parameters if p.grad is not None]
    total = torch.stack(torch._foreach_norm(gradients)).norm()
    factor = (limit / (total + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(gradients, torch.where(torch.stack(large).max() > limit, factor, 1.0))
