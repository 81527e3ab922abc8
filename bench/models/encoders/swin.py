"""Swin (Liu et al., 2021) on every frame."""

from torch import nn

from mcr_bench.bench.models.backbones.vision import swin_encoder
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
    return swin_encoder(modality.shape, out, as_encoder_settings(values))


KIND = EncoderKind(
    name="swin",
    about="Swin on every frame, means over space and frames",
    make=make,
    axes=(3, 4),
    padded=(4,),
    settings=encoder_settings(*SIZES, *OF_WEIGHTS),
    tokens=True,
    extra="backbones",
    library="transformers",
)
