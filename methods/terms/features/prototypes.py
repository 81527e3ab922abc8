"""Prototypes of classes, and the distances of features from them, as a classifier that has no weights of its own."""

import torch
from torch import Tensor

from mcr_bench.bench.core.precision import full_precision, promoted


def class_means(features: Tensor, members: Tensor, before: Tensor | None = None, momentum: float = 0.0) -> Tensor:
    """The prototypes (M, C, d): (1 - momentum) times the mean feature of each class, plus momentum times that before.

    features: (M, N, d). members: (M, N, C), 1 where a sample counts for a class, otherwise 0. before: (M, C, d), which
    a class without a sample keeps; without it such a class has the mean of all features.

    >>> class_means(torch.tensor([[[1.0], [3.0], [8.0]]]), torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]]))
    tensor([[[2.],
             [8.]]])
    """
    with full_precision(features.device):
        sums, counts = members.transpose(1, 2) @ features, members.sum(1)[..., None]
        means = sums / counts.clamp(min=1)
        if before is None:
            return torch.where(counts > 0, means, sums.sum(1, keepdim=True) / counts.sum(1, keepdim=True).clamp(min=1))
        return torch.where(counts > 0, torch.lerp(means, before, momentum), before)


def nearness(features: Tensor, prototypes: Tensor) -> Tensor:
    """Logits (B, C): minus the Euclidean distance of each feature (B, d) from each prototype (C, d).

    >>> nearness(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[-5., -0.]])
    """
    with full_precision(features.device):
        return -torch.cdist(promoted(features), prototypes, compute_mode="donot_use_mm_for_euclid_dist")
