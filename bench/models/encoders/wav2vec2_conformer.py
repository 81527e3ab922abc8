"""wav2vec 2.0 and a Conformer over its frames (MCR paper, CREMA-D)."""

from mcr_bench.bench.models.backbones.declaration import pretrained
from mcr_bench.bench.models.backbones.speech import SpeechConformer, is_speech

KIND = pretrained(
    "wav2vec2-conformer",
    "wav2vec 2.0 over waveforms of 16 kHz, then a Conformer",
    lambda modality, out, settings: SpeechConformer(out, settings, modality.padded),
    axes=(1, 2),
    padded=(2,),
    takes=is_speech,
)
