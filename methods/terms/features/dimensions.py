"""Dimensions of features that tell the classes apart by themselves, and the contrast that teaches them to others."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from mcr_bench.methods.terms.features.prototypes import class_means
from mcr_bench.methods.terms.losses import loss_mean


def effective_dimensions(features: Tensor, target: Tensor, classes: int, present: Tensor | None = None) -> Tensor:
    """(d,) bool: the dimensions of features (N, d) on which the nearest class mean is right more often than on average.

    The mean of each of C classes, and which one is nearest, are those of the single dimension. The average is that of
    the shares over all dimensions.

    target: (N,) class indices. present: (N,) bool, the samples that count; None: all.

    >>> effective_dimensions(torch.tensor([[0.0, 1.0], [1.0, 1.0]]), torch.tensor([0, 1]), 2)
    tensor([ True, False])
    """
    kept = torch.ones_like(target, dtype=torch.bool) if present is None else present
    members = F.one_hot(target, classes) * kept[:, None]
    means = class_means(features[None], members[None].to(features))[0]
    empty = (members.sum(0) == 0)[:, None]
    nearest, least = torch.zeros_like(features, dtype=torch.int64), torch.full_like(features, torch.inf)
    for number, mean in enumerate(torch.where(empty, torch.inf, means)):
        apart = (features - mean).abs()
        nearest, least = torch.where(apart < least, number, nearest), torch.minimum(apart, least)
    right = ((nearest == target[:, None]) & kept[:, None]).to(features).sum(0)
    return right > right.mean()


def drawn_towards(
    student: Tensor, teacher: Tensor, temperature: float, kept: Tensor | None = None, official: bool = False
) -> Tensor:
    """InfoNCE (): the mean over samples of -log(exp(<s_i, t_i> / T) / sum_j exp(<s_i, t_j> / T)).

    student, teacher: (B, d); no gradient goes to the teacher. The negatives are the other samples' teachers.
    kept: (B,) bool, the samples that count, as anchors and as negatives; None: all. The mean of none is 0.
    official: the sums of exponentials themselves, which overflow.

    >>> drawn_towards(torch.zeros(3, 2), torch.ones(3, 2), temperature=1.0).exp()
    tensor(3.)
    """
    scores = student @ teacher.detach().T / temperature
    if kept is not None:
        scores = scores.masked_fill(~kept & ~torch.eye(len(kept), dtype=torch.bool, device=kept.device), -math.inf)
    if official:
        each = scores.exp()
        return loss_mean(-(each.diagonal() / each.sum(1)).log(), kept)
    return loss_mean(-scores.log_softmax(1).diagonal(), kept)
