"""Training samples as evaluation sees them, for methods that look at many samples between epochs."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

import torch
from torch import Tensor

from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel
from mcr_bench.bench.training.reader import reading
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.terms.modes import evaluation_mode

T = TypeVar("T")


def some_of(count: int, most: int, generator: torch.Generator) -> Tensor:
    """Up to `most` of `count` indices, (n,) int64 on the CPU; all of them, in their order, where there are no more.

    >>> some_of(3, 5, torch.Generator()), some_of(9, 2, torch.Generator()).shape
    (tensor([0, 1, 2]), torch.Size([2]))
    """
    return torch.arange(count) if count <= most else torch.randperm(count, generator=generator)[:most]


@torch.no_grad()
def over_training(fit: Fit, order: Tensor, size: int, compute: Callable[[Batch], T], training: bool = False) -> list[T]:
    """What `compute` makes of the training samples `order`, batch by batch, without augmentation and gradients.

    The model is in evaluation mode, so that nothing about it changes.

    order: (n,) int64 on the CPU, indices of samples, which may come again. size: the number of samples of one pass.
    training: leave the model in training mode: dropout acts, and the running statistics of batch norm change.
    """
    mode = nullcontext() if training else evaluation_mode(fit.model)
    with mode, fit.autocast(), reading(fit.train, order, size) as parts:
        return [compute(fit.train.batch(index)) for index in parts]


def of_samples(fit: Fit, order: Tensor, compute: Callable[[Batch], Tensor], training: bool = False) -> Tensor:
    """What `compute` makes of the training samples `order`, (..., n) on the CPU, without augmentation.

    order: (n,) int64 on the CPU, indices of samples, which may come again. compute: B samples -> (..., B).
    training: in training mode, in batches of the run's size, as `over_training`.
    """
    size = fit.settings.batch_size * (1 if training else 4)
    return torch.cat(over_training(fit, order, size, compute, training), -1).cpu()


def presence_of(fit: Fit, order: Tensor) -> Tensor:
    """(M, n) bool on the CPU, which modalities the training samples `order` (n,) have."""
    return torch.stack([fit.train.presence(m).cpu()[order] for m in fit.model.modalities])


def training_features(fit: Fit, order: Tensor, size: int) -> dict[str, Tensor]:
    """Modality -> features (n, d) of the training samples `order`, without augmentation, in full precision.

    The encoders are in evaluation mode, so that nothing about them changes.

    order: (n,) int64 on the CPU, indices of samples. size: the number of samples of one pass.
    """
    rows = over_training(fit, order, size, lambda batch: _encoded(fit.model, batch.inputs))
    return {m: promoted(torch.cat([row[m] for row in rows])) for m in fit.model.modalities}


def _encoded(model: MultimodalModel, inputs: Inputs) -> dict[str, Tensor]:
    """Modality -> features (B, d) alone, whatever else the fusion head reads."""
    return {m: model.encode_one(m, inputs.values[m], inputs.lengths.get(m)) for m in model.modalities}
