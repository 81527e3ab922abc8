"""Means over a batch in which some samples lack a modality, or have it dropped: they do not count for it."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mcr_bench.bench.task import Task

ALL: Mapping[str, Tensor] = {}  # every sample has every modality


def loss_of(task: Task, logits: Tensor, target: Tensor, having: Tensor | None = None) -> Tensor:
    """The loss () of logits (B, C), as the mean over the samples at which `having` (B,) is set; 0 if there is none.

    >>> right = torch.tensor([[9.0, 0.0], [0.0, 0.0]])
    >>> loss_of(Task(2), right, torch.tensor([0, 0]), torch.tensor([False, True])).exp()
    tensor(2.)
    """
    if having is None:
        return task.loss(logits, target)
    kept = torch.where(having, task.per_sample(logits, target), 0.0)
    return kept.sum() / having.sum().clamp(min=1)


def batch_mean(values: Tensor, modalities: Sequence[str], having: Mapping[str, Tensor] = ALL) -> Tensor:
    """The mean (M,) of values (M, B), one row per modality, over the samples that have it.

    having: modality -> (B,) bool; all samples have the others. Where no sample of the batch has a modality, the mean
    is that over all of them, so that it stays a number of the usual size.

    >>> batch_mean(torch.tensor([[1.0, 3.0], [1.0, 3.0]]), ["audio", "video"], {"video": torch.tensor([False, True])})
    tensor([2., 3.])
    """
    if not having:
        return values.mean(1)
    everywhere = torch.ones_like(values[0], dtype=torch.bool)
    kept = torch.stack([having.get(m, everywhere) for m in modalities])
    kept = kept | ~kept.any(1, keepdim=True)
    return torch.where(kept, values, 0.0).sum(1) / kept.sum(1)
