"""Means and masks over time for sequences of different lengths; none of them depends on the padding."""

import torch
from torch import Tensor

PARTS = 8  # chosen on the validation part of UTD-MHAD: one mean over time loses which way a movement goes


def time_mask(lengths: Tensor, steps: int) -> Tensor:
    """(B, T) bool, True on a sequence's own steps; an empty sequence keeps its first step, so that its mean exists."""
    return torch.arange(steps, device=lengths.device) < lengths.clamp(min=1)[:, None]


def without_padding(x: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, T, K) with 0 after the end of each sequence, whatever the padding held."""
    return x if lengths is None else x.masked_fill(~time_mask(lengths, x.shape[1])[..., None], 0.0)


def mean_over_time(x: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, T, K) -> (B, K): the mean over each sequence's own steps."""
    if lengths is None:
        return x.mean(1)
    return without_padding(x, lengths).sum(1) / lengths.clamp(1, x.shape[1])[:, None]


def mean_over_parts(x: Tensor, lengths: Tensor | None, parts: int = PARTS) -> Tensor:
    """(B, T, K) -> (B, parts K): means over equal parts of each sequence's own steps; 0 for a part without a step."""
    steps = x.shape[1]
    own = torch.full((1,), steps, device=x.device) if lengths is None else lengths.clamp(1, steps)
    part = torch.arange(steps, device=x.device) * parts // own[:, None]
    member = (part[:, None] == torch.arange(parts, device=x.device)[:, None]).to(x.dtype)
    return (member @ x / member.sum(2, keepdim=True).clamp(min=1)).flatten(1)


def mask_of(x: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, T, ...) and its lengths -> (B, T) bool, True on each sequence's own steps; all True without lengths."""
    if lengths is None:
        return torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
    return time_mask(lengths, x.shape[1])
