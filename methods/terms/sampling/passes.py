"""Passes over training samples as evaluation sees them, for methods that choose by what the model makes of them."""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.training.reader import reading
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.terms.modes import evaluation_mode


@torch.no_grad()
def over_training(fit: Fit, order: Tensor, compute: Callable[[Batch], Tensor], training: bool = False) -> Tensor:
    """What `compute` makes of the training samples `order`, (..., n) on the CPU, without augmentation.

    The model is in evaluation mode, so that nothing about it changes.

    order: (n,) int64 on the CPU, indices of samples, which may come again. compute: B samples -> (..., B).
    training: leave the model in training mode, in batches of the run's size: dropout acts, and the running statistics
    of batch norm change.
    """
    mode = nullcontext() if training else evaluation_mode(fit.model)
    size = fit.settings.batch_size * (1 if training else 4)
    with mode, fit.autocast(), reading(fit.train, order, size) as parts:
        return torch.cat([compute(fit.train.batch(index)) for index in parts], -1).cpu()


def presence_of(fit: Fit, order: Tensor) -> Tensor:
    """(M, n) bool on the CPU, which modalities the training samples `order` (n,) have."""
    return torch.stack([fit.train.presence(m).cpu()[order] for m in fit.model.modalities])
