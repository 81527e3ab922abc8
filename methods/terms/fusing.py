"""Late fusion of the own heads' logits: their sum, or one with weights that differ from sample to sample."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from mcr_bench.bench.models.fusion import sum_of
from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.methods.terms.losses import ALL, stacked


def weighted_sum(logits: Tensor, weights: Tensor, kept: Tensor | None = None) -> Tensor:
    """The logits (B, C) that are the sum over modalities of weights (M, B), without gradient, times logits (M, B, C).

    kept: (M, B) bool, the modalities that each sample has; the others are left out. None: all.

    >>> weighted_sum(torch.tensor([[[1.0, 2.0]], [[3.0, 0.0]]]), torch.tensor([[0.5], [2.0]]))
    tensor([[6.5000, 1.0000]])
    """
    shares = weights.detach()[..., None] * logits
    return (shares if kept is None else torch.where(kept[..., None], shares, 0.0)).sum(0)


def fused_late(outputs: Outputs, weights: Tensor, having: Mapping[str, Tensor]) -> Outputs:
    """The same outputs with the weighted sum of the own heads' logits, (B, C), in place of the fusion head's.

    weights: (M, B). having: modality -> (B,) bool, the samples that have it; all samples have the others.
    """
    own = outputs.own_logits
    fused = weighted_sum(torch.stack(list(own.values())), weights, stacked(list(own), having))
    return replace(outputs, logits=fused, branch_logits=None)


def summed(outputs: Outputs, own: Mapping[str, Tensor], having: Mapping[str, Tensor] = ALL) -> Outputs:
    """The same outputs with the sum of the modalities' logits (B, C) in place of the fusion head's.

    having: modality -> (B,) bool, the samples that have it; what a sample lacks is 0 in its sum.
    """
    shares = {m: torch.where(having[m][:, None], z, 0.0) if m in having else z for m, z in own.items()}
    return replace(outputs, logits=sum_of(shares), branch_logits=None)
