"""The fusion head's logits for one modality, with zeros in place of the features of all others."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.methods.terms.modes import evaluation_mode


def each_alone(features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Features for M times as many samples, modality -> (M B, d): block m has modality m's features, zeros elsewhere.

    features: modality -> (B, d).

    >>> each_alone({"audio": torch.tensor([[1.0]]), "video": torch.tensor([[2.0]])})
    {'audio': tensor([[1.],
            [0.]]), 'video': tensor([[0.],
            [2.]])}
    """
    blocks = {m: [f if n == m else torch.zeros_like(f) for n in features] for m, f in features.items()}
    return {m: torch.cat(parts) for m, parts in blocks.items()}


def logits_alone(model: MultimodalModel, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Modality -> the fusion head's logits (B, C) for its features (B, d) and zeros in place of all others.

    It is one pass of the head, in evaluation mode, so that the zeros do not enter statistics of batch norm.
    """
    with evaluation_mode(model.fusion):
        logits = model.fusion(each_alone(features)).logits
    return dict(zip(features, logits.chunk(len(features)), strict=True))
