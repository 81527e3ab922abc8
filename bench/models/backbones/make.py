"""Which encoders come with pre-trained weights, and building them from settings and shapes."""

from torch import nn

from mcr_bench.bench.models.backbones.speech import RECEPTIVE, SpeechConformer, SpeechEncoder
from mcr_bench.bench.models.backbones.vision import VivitEncoder, swin_encoder
from mcr_bench.bench.settings.training import EncoderSettings
from mcr_bench.datasets.base import Modality

PRETRAINED = ("wav2vec2", "wav2vec2-conformer", "hubert", "vivit", "swin")
OF_WEIGHTS = ("weights", "layers", "frozen")  # settings that no other encoder takes


def speech_kinds(modality: Modality) -> tuple[str, ...]:
    """The encoders of waveforms (T,) or (T, 1), where these are long enough to be any."""
    shape = modality.shape
    mono = shape[1:] == (1,) or (len(shape) == 1 and not modality.padded)
    if not mono or shape[0] < RECEPTIVE:
        return ()
    kinds = ("wav2vec2", "wav2vec2-conformer")
    return kinds if modality.padded else (*kinds, "hubert")


def pretrained_encoder(kind: str, modality: Modality, out: int, settings: EncoderSettings) -> nn.Module:
    """One of `PRETRAINED`; UserError where the library is missing, or weights and data do not fit."""
    if kind == "vivit":
        return VivitEncoder(modality.shape, out, settings)
    if kind == "swin":
        return swin_encoder(modality.shape, out, settings)
    if kind == "wav2vec2-conformer":
        return SpeechConformer(out, settings, modality.padded)
    return SpeechEncoder(kind, out, settings, modality.padded)
