"""How many channels the stages of an encoder have, told without weights or data."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mcr_bench.bench.models.declared import Encoder, Sizes
from mcr_bench.bench.models.own.trial import anywhere, trial
from mcr_bench.bench.models.parts import pooled_stages, stages_of
from mcr_bench.bench.problem.facts import Modality


def stage_sizes(encoders: Mapping[str, Encoder], modalities: Mapping[str, Modality], width: int) -> Sizes:
    """Modality -> the number K of channels of each stage of its encoder; `width` is that of the features."""
    with trial(), torch.no_grad():
        return {m: _sizes(encoders[m], facts, width) for m, facts in modalities.items()}


def _sizes(encoder: Encoder, modality: Modality, width: int) -> tuple[int, ...]:
    def attempt() -> list[Tensor]:
        net = encoder.kind.make(modality, width, encoder.values).eval()
        values = torch.zeros(2, *modality.shape)
        lengths = torch.full((2,), modality.shape[0]) if modality.padded else None
        return pooled_stages(stages_of(net, values, lengths))

    return tuple(stage.shape[1] for stage in anywhere(attempt))
