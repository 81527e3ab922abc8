"""wav2vec 2.0 and a Conformer over its frames (MCR paper, CREMA-D)."""

from torch import nn

from mcr_bench.bench.models.backbones.speech import SpeechConformer, is_speech
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
    return SpeechConformer(out, as_encoder_settings(values), modality.padded)


KIND = EncoderKind(
    name="wav2vec2-conformer",
    about="wav2vec 2.0 over waveforms of 16 kHz, then a Conformer",
    make=make,
    axes=(1, 2),
    padded=(2,),
    takes=is_speech,
    settings=encoder_settings(*SIZES, *OF_WEIGHTS),
    tokens=True,
    extra="backbones",
    library="transformers",
)
