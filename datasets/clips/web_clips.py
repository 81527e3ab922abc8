"""Clips of web videos with sound and a few frames: what Kinetics-Sounds and VGGSound share as datasets."""

from dataclasses import dataclass
from typing import ClassVar

from mcr_bench.bench.settings.declaration import setting
from mcr_bench.datasets.clips.audio_visual import AudioVisual
from mcr_bench.datasets.clips.dataset import Recipe
from mcr_bench.datasets.raw.web import clip_raw


@dataclass
class WebClips(AudioVisual):
    """Log magnitudes of the first seconds of sound, and frames at 0, 1, 2, ... seconds."""

    group_name: ClassVar[str] = "video"
    frames: int = setting(
        3,
        "number of frames, at 0, 1, 2, ... seconds; a short clip repeats its last frame",
        origin="TCMax code",
        at_least=1,
    )
    seconds: float = setting(
        3.0,
        "length of the sound in seconds, from the start; shorter sound is repeated",
        origin="TCMax code",
        at_least=0.1,
    )

    def recipe(self) -> Recipe:
        """Spectrogram (1, 257, 188) float16 and frames uint8 with the default settings."""
        dials = {"frames": self.frames, "frame_size": self.frame_size, "seconds": self.seconds}
        settings = {"version": clip_raw.VERSION, **dials}
        return Recipe("resnet", settings, clip_raw.fields(settings), clip_raw.decode)
