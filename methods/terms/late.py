"""Late fusion without a head: the prediction is the mean of the own heads' logits."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.methods.terms.losses import stacked


def averaged(outputs: Outputs, having: Mapping[str, Tensor]) -> Outputs:
    """The same outputs with the mean of the own heads' logits, (B, C), in place of the fusion head's.

    having: modality -> (B,) bool, the samples that have it; all samples have the others.
    """
    return replace(outputs, logits=mean_of_present(outputs.own_logits, having), branch_logits=None)


def mean_of_present(logits: Mapping[str, Tensor], having: Mapping[str, Tensor]) -> Tensor:
    """The mean (B, C) of the modalities' logits (B, C), for each sample over the modalities that it has.

    having: modality -> (B,) bool; all samples have the others.

    >>> two = {"audio": torch.tensor([[2.0]]), "video": torch.tensor([[4.0]])}
    >>> mean_of_present(two, {}), mean_of_present(two, {"audio": torch.tensor([False])})
    (tensor([[3.]]), tensor([[4.]]))
    """
    every, kept = torch.stack(list(logits.values())), stacked(list(logits), having)
    if kept is None:
        return every.mean(0)
    return torch.where(kept[..., None], every, 0.0).sum(0) / kept.sum(0).clamp(min=1)[:, None]
