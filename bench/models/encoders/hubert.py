"""HuBERT (Hsu et al., 2021) over waveforms of one length."""

from mcr_bench.bench.models.backbones.declaration import pretrained
from mcr_bench.bench.models.backbones.speech import SpeechEncoder, is_speech

KIND = pretrained(
    "hubert",
    "HuBERT over waveforms of 16 kHz, (T,) or (T, 1)",
    lambda modality, out, settings: SpeechEncoder("hubert", out, settings, modality.padded),
    axes=(1, 2),
    takes=is_speech,
)
