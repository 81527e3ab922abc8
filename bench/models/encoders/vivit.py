"""ViViT (Arnab et al., 2021) over clips of square frames."""

from torch import nn

from mcr_bench.bench.models.backbones.vision import VivitEncoder
from mcr_bench.bench.models.declared import (
    OF_WEIGHTS,
    SIZES,
    EncoderKind,
    Values,
    as_encoder_settings,
    encoder_settings,
)
from mcr_bench.bench.problem.facts import Modality


def make(modality: Modality, out: int, values: Values) -> nn.Module:
    """The encoder of one modality."""
    return VivitEncoder(modality.shape, out, as_encoder_settings(values))


KIND = EncoderKind(
    name="vivit",
    about="ViViT over clips of square frames",
    make=make,
    axes=(4,),
    settings=encoder_settings(*SIZES, *OF_WEIGHTS),
    tokens=True,
    extra="backbones",
    library="transformers",
)
