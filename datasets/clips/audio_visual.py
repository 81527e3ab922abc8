"""Clips with sound and a few frames stored as squares: what CREMA-D, AVE and UCF101 share as datasets."""

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
    """A dataset with the fields `audio`, `video` and `aspect` in its recipe.

    frames: the number of stored frames; a subclass declares this setting, because its origin differs.
    """

    frames: int
    frame_size: int = setting(
        256, "side in pixels of the stored frames, which are squares of the whole picture", at_least=8
    )
    crop: int = setting(224, "side in pixels of the frames that the model sees", origin="MCR paper", at_least=8)

    def view(self, modality: str, cache: Cache, train: Array) -> View:
        """How batches are made: sound as it is stored (MCR code), frames cropped, flipped and normalised."""
        return Plain("audio") if modality == "audio" else Frames("video", self.crop)

    def modalities(self) -> dict[str, Modality]:
        """Audio in the shape of its field, and video (frames, 3, crop, crop)."""
        audio = self.recipe().fields["audio"].shape
        return {"audio": Modality(audio), "video": Modality((self.frames, 3, self.crop, self.crop))}
