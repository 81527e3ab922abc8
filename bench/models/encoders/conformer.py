"""Conformer (Gulati et al., 2020) over the steps of a sequence, without weights."""

from torch import nn

from mcr_bench.bench.models.backbones.conformer import ConformerEncoder
from mcr_bench.bench.models.declared import SIZES, EncoderKind, Values, as_encoder_settings, encoder_settings
from mcr_bench.bench.problem.facts import Modality


def make(modality: Modality, out: int, values: Values) -> nn.Module:
    """The encoder of one modality."""
    settings = as_encoder_settings(values)
    return ConformerEncoder(modality.shape[-1], out, settings.width, settings.depth, settings.dropout)


KIND = EncoderKind(
    name="conformer",
    about="Conformer layers over the steps, mean over them",
    make=make,
    axes=(2,),
    padded=(2,),
    settings=encoder_settings(*SIZES),
    tokens=True,
    extra="backbones",
    library="transformers",
)
