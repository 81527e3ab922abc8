"""Confidence in predictions from nested sets of modalities, which must not rise when one is removed."""

from collections.abc import Mapping

import torch
from torch import Tensor


def rises(logits: Tensor, target: Tensor, margin: float = 0.0) -> Tensor:
    """How much the confidence of each sample rises at each removal, (K - 1, B), of logits (K, B, C) of nested sets.

    It is max(0, max_c p_{k+1} - max_c p_k - margin) with p_k = softmax of the logits of set k, where the larger set
    predicts the target (B,) class indices; otherwise 0.

    >>> sets = torch.tensor([[[1.0, 0.0]], [[0.0, 99.0]]])
    >>> rises(sets, torch.tensor([0])), rises(sets, torch.tensor([1]))
    (tensor([[0.2689]]), tensor([[0.]]))
    """
    confidence, prediction = logits.softmax(-1).max(-1)
    more = (confidence[1:] - confidence[:-1] - margin).clamp(min=0)
    return torch.where(prediction[:-1] == target, more, 0.0)


def kept_sets(order: Mapping[str, Tensor], having: Mapping[str, Tensor]) -> Tensor | None:
    """(M, B) bool, the sets that differ from the set before by a modality which the sample has; None if all do.

    order: modality -> its place (B,) in the order of removal, in which those that a sample lacks come first. having:
    modality -> (B,) bool, the samples that have it; all samples have the others.

    >>> order = {"audio": torch.tensor([0, 1]), "video": torch.tensor([1, 0])}
    >>> kept_sets(order, {"audio": torch.tensor([False, True])})
    tensor([[ True,  True],
            [False,  True]])
    """
    if not having:
        return None
    lacking = torch.stack([~having[m] for m in order if m in having]).sum(0)
    place = torch.arange(len(order), device=lacking.device)[:, None]
    return (place == 0) | (place > lacking)
