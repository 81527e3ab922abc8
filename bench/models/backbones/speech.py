"""wav2vec 2.0 (Baevski et al., 2020) and HuBERT (Hsu et al., 2021) over waveforms, alone or before a Conformer."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.backbones.conformer import ConformerEncoder
from mcr_bench.bench.models.backbones.whole import attention_heads, configuration, first_layers, library, whole
from mcr_bench.bench.models.over_time import mask_of, mean_over_time, time_mask, without_padding
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.settings.training import EncoderSettings

RECEPTIVE = 400  # samples that a frame of the feature encoder sees: 25 ms at 16 kHz; a shorter waveform has no frame
CHANNELS = 512
MODELS = {"wav2vec2": "Wav2Vec2Model", "hubert": "HubertModel"}
NO_NOISE = {"mask_time_prob": 0.0, "mask_feature_prob": 0.0, "layerdrop": 0.0, "add_adapter": False}


class SpeechFrames(nn.Module):
    """Waveforms (B, T) or (B, T, 1) at 16 kHz -> frames (B, T', K) and how many of them are each waveform's own.

    The library's masking and layer drop are off: they draw from generators that no seed of ours reaches. With weights
    the feature encoder of wav2vec 2.0 does not learn (MCR paper); `frozen` stops all else too.
    """

    def __init__(self, kind: str, settings: EncoderSettings, padded: bool) -> None:
        super().__init__()
        config = speech_configuration(kind, settings)
        if padded and config.feat_extract_norm != "layer":
            raise UserError(
                f"encoder.weights={settings.weights}: its group norm would mix padding into the features. "
                "Use waveforms of one length, or weights with layer norm."
            )
        self.size = int(config.hidden_size)
        self.windows = tuple(zip(config.conv_kernel, config.conv_stride, strict=True))
        self.whole = whole(getattr(library(), MODELS[kind]), config, settings.weights, settings.frozen)
        if settings.weights and kind == "wav2vec2":
            self.whole.model.feature_extractor.requires_grad_(False)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        wave = without_padding(values[..., None] if values.ndim == 2 else values, lengths)[..., 0]
        if lengths is None:
            return self.whole(wave).last_hidden_state, None
        lengths = lengths.clamp(min=RECEPTIVE)
        frames = self.whole(wave, attention_mask=time_mask(lengths, wave.shape[1]).long()).last_hidden_state
        return frames, self.frames_of(lengths)

    def frames_of(self, lengths: Tensor) -> Tensor:
        """(B,) samples -> (B,) frames."""
        for kernel, stride in self.windows:
            lengths = torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
        return lengths


class SpeechEncoder(nn.Module):
    """The mean of a waveform's own frames, linear to (B, d)."""

    def __init__(self, kind: str, out: int, settings: EncoderSettings, padded: bool) -> None:
        super().__init__()
        self.frames = SpeechFrames(kind, settings, padded)
        self.project = nn.Linear(self.frames.size, out)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Waveforms (B, T) or (B, T, 1) and their lengths (B,) -> features (B, d)."""
        features: Tensor = self.project(mean_over_time(*self.frames(values, lengths)))
        return features

    def tokens(self, values: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features (B, T', d) of every frame, and the mask (B, T') of a waveform's own frames."""
        frames, own = self.frames(values, lengths)
        return self.project(frames), mask_of(frames, own)


class SpeechConformer(nn.Module):
    """wav2vec 2.0, then the Conformer of `width` and `depth` over its frames (MCR paper, CREMA-D)."""

    def __init__(self, out: int, settings: EncoderSettings, padded: bool) -> None:
        super().__init__()
        self.frames = SpeechFrames("wav2vec2", settings, padded)
        self.conformer = ConformerEncoder(self.frames.size, out, settings.width, settings.depth, settings.dropout)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Waveforms (B, T) or (B, T, 1) and their lengths (B,) -> features (B, d)."""
        features: Tensor = self.conformer(*self.frames(values, lengths))
        return features

    def tokens(self, values: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features (B, T', d) of every frame, and the mask (B, T') of a waveform's own frames."""
        return self.conformer.tokens(*self.frames(values, lengths))


def speech_configuration(kind: str, settings: EncoderSettings) -> Any:
    """As the weights have it, cut to their first `layers`; without weights `depth` layers of `width`.

    Drawn wav2vec 2.0 is built as the "large" one with layer norm, HuBERT as the "base" one with group norm.
    """
    width, large = settings.width, kind == "wav2vec2"
    fresh = {
        "hidden_size": width,
        "num_hidden_layers": settings.depth,
        "num_attention_heads": attention_heads(width),
        "intermediate_size": 4 * width,
        "conv_dim": (min(width, CHANNELS),) * 7,
        "num_conv_pos_embedding_groups": math.gcd(16, width),
        "feat_extract_norm": "layer" if large else "group",
        "do_stable_layer_norm": large,
        "conv_bias": large,
    }
    rates = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout")
    config = configuration(kind, settings.weights, fresh, {**NO_NOISE, **dict.fromkeys(rates, settings.dropout)})
    return first_layers(config, settings.layers)


def is_speech(modality: Modality) -> bool:
    """Whether samples are waveforms (T,) or (T, 1) that are long enough for a frame."""
    return modality.shape[1:] in ((), (1,)) and modality.shape[0] >= RECEPTIVE
