"""How many channels the stages of an encoder have, told without weights or data."""

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from mcr_bench.bench.models.declared import Encoder, EncoderKind, Sizes
from mcr_bench.bench.models.own.trial import anywhere, blank, trial
from mcr_bench.bench.models.parts import pooled_stages, stages_of
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.settings.declaration import Value

MOST = 1000  # encoders that are remembered: a plan asks for the same ones once per method


def stage_sizes(encoders: Mapping[str, Encoder], modalities: Mapping[str, Modality], width: int) -> Sizes:
    """Modality -> the number K of channels of each stage of its encoder; `width` is that of the features."""
    return {
        m: _sizes(encoders[m].kind, tuple(sorted(encoders[m].values.items())), facts, width)
        for m, facts in modalities.items()
    }


@lru_cache(maxsize=MOST)
def _sizes(kind: EncoderKind, values: tuple[tuple[str, Value], ...], modality: Modality, width: int) -> tuple[int, ...]:
    def attempt() -> list[Tensor]:
        net = kind.make(modality, width, dict(values)).eval()
        lengths = torch.full((1,), modality.shape[0]) if modality.padded else None
        return pooled_stages(stages_of(net, blank(1, modality), lengths))

    with trial(), torch.no_grad():
        return tuple(stage.shape[1] for stage in anywhere(attempt))
