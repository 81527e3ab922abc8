"""Clips of sound and of a few frames stored as squares: what CREMA-D, AVE and UCF101 share as datasets."""

from dataclasses import dataclass

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.settings.declaration import setting
from mcr_bench.datasets.base import Modality
from mcr_bench.datasets.cache.opened import Cache
from mcr_bench.datasets.clips.dataset import ClipDataset
from mcr_bench.datasets.clips.rows import Plain, View
from mcr_bench.datasets.clips.views import Frames


@dataclass
class AudioVisual(ClipDataset):
    """Fields `audio` and `video` of the recipe. A subclass declares `frames`, which have origins of their own."""

    frames: int
    frame_size: int = setting(256, "side of the stored frames in pixels, squares of the whole picture", at_least=8)
    crop: int = setting(224, "side of the frames that a model sees", origin="MCR paper", at_least=8)

    def view(self, modality: str, cache: Cache, train: Array) -> View:
        """Sound as it is stored (MCR code); frames cropped, flipped and normalised."""
        return Plain("audio") if modality == "audio" else Frames("video", self.crop)

    def modalities(self) -> dict[str, Modality]:
        """Audio in the shape of its field, and video (frames, 3, crop, crop)."""
        audio = self.recipe().fields["audio"].shape
        return {"audio": Modality(audio), "video": Modality((self.frames, 3, self.crop, self.crop))}
