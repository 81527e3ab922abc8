"""Features of training samples as evaluation sees them, for methods that look at many samples between epochs."""

import torch
from torch import Tensor

from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel
from mcr_bench.bench.training.reader import reading
from mcr_bench.methods.terms.modes import evaluation_mode


def some_of(count: int, most: int, generator: torch.Generator) -> Tensor:
    """Up to `most` of `count` indices, (n,) int64 on the CPU; all of them, in their order, where there are no more.

    >>> some_of(3, 5, torch.Generator()), some_of(9, 2, torch.Generator()).shape
    (tensor([0, 1, 2]), torch.Size([2]))
    """
    return torch.arange(count) if count <= most else torch.randperm(count, generator=generator)[:most]


@torch.no_grad()
def training_features(fit: Fit, order: Tensor, size: int) -> dict[str, Tensor]:
    """Modality -> features (n, d) of the training samples `order`, without augmentation, in full precision.

    The encoders are in evaluation mode, so that nothing about them changes.

    order: (n,) int64 on the CPU, indices of samples. size: the number of samples of one pass.
    """
    with evaluation_mode(fit.model), fit.autocast(), reading(fit.train, order, size) as parts:
        rows = [_encoded(fit.model, fit.train.batch(index).inputs) for index in parts]
    return {m: promoted(torch.cat([row[m] for row in rows])) for m in fit.model.modalities}


def _encoded(model: MultimodalModel, inputs: Inputs) -> dict[str, Tensor]:
    """Modality -> features (B, d) alone, whatever else the fusion head reads."""
    return {m: model.encode_one(m, inputs.values[m], inputs.lengths.get(m)) for m in model.modalities}
