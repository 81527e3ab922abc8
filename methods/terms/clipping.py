"""Gradient clipping that acts only when a gradient of chosen parameters is large; never waits for the device."""

from collections.abc import Iterable

import torch
from torch import nn


def clip_if_large(watched: Iterable[nn.Parameter], parameters: Iterable[nn.Parameter], limit: float) -> None:
    """Scale all gradients down to a total norm of `limit` if an element of a watched gradient is beyond +-`limit`."""
    large = torch._foreach_norm([p.grad for p in watched if p.grad is not None], float("inf"))
    gradients = [p.grad for p in parameters if p.grad is not None]
    total = torch.stack(torch._foreach_norm(gradients)).norm()
    factor = (limit / (total + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(gradients, torch.where(torch.stack(large).max() > limit, factor, torch.ones_like(factor)))
