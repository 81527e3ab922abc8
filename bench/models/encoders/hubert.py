"""HuBERT (Hsu et al., 2021) over waveforms of one length."""

from torch import nn

from mcr_bench.bench.models.backbones.speech import SpeechEncoder, is_speech
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
    return SpeechEncoder("hubert", out, as_encoder_settings(values), modality.padded)


KIND = EncoderKind(
    name="hubert",
    about="HuBERT over waveforms of 16 kHz, (T,) or (T, 1)",
    make=make,
    axes=(1, 2),
    takes=is_speech,
    settings=encoder_settings(*SIZES, *OF_WEIGHTS),
    tokens=True,
    extra="backbones",
    library="transformers",
)
