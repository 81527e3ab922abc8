"""wav2vec 2.0 (Baevski et al., 2020) over waveforms."""

from mcr_bench.bench.models.backbones.declaration import pretrained
from mcr_bench.bench.models.backbones.speech import SpeechEncoder, is_speech

KIND = pretrained(
    "wav2vec2",
    "wav2vec 2.0 over waveforms of 16 kHz, (T,) or (T, 1)",
    lambda modality, out, settings: SpeechEncoder("wav2vec2", out, settings, modality.padded),
    axes=(1, 2),
    padded=(2,),
    takes=is_speech,
)
