"""Masks over units: which units of a layer are kept, drawn by their importance or the most important ones."""

import torch
from torch import Tensor


def mask(importance: Tensor, share: Tensor, noise: Tensor | float = 0.0, unbiased: bool = False) -> Tensor:
    """A mask (..., n) that keeps ceil(share n) of the n units of every row of importances (..., n).

    share: (). noise: (..., n), Gumbel numbers, by which units are drawn without replacement with probabilities
    p = importance / its sum; 0 for the most important ones. unbiased: what is kept is 1 / (p + 1 / n) instead of 1.

    >>> mask(torch.tensor([3.0, 1.0, 2.0]), torch.tensor(0.5))
    tensor([1., 0., 1.])
    """
    count = importance.shape[-1]
    order = (importance.log() + noise).argsort(dim=-1, descending=True, stable=True).argsort(-1)
    kept = (order < (share * count).ceil()).to(importance)
    if not unbiased:
        return kept
    p = importance / importance.sum(-1, keepdim=True).clamp(min=torch.finfo(importance.dtype).tiny)
    return kept / (p + 1 / count)


def gumbel(like: Tensor, source: torch.Generator) -> Tensor:
    """Gumbel numbers -log(-log(uniform numbers)) in the shape, and of the type and device, of a tensor."""
    drawn = torch.rand(like.shape, generator=source, device=like.device, dtype=like.dtype)
    return -torch.log(-torch.log(drawn))
