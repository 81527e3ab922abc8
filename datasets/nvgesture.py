"""NVGesture: 1,532 hand gestures of 25 classes by 18 subjects in a car, as colour, depth and infrared video."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.settings.declaration import setting
from mcr_bench.datasets.base import Card, Modality
from mcr_bench.datasets.cache.opened import Cache
from mcr_bench.datasets.clips.dataset import ClipDataset, Recipe, Rule, Scan, Variant
from mcr_bench.datasets.clips.rows import View
from mcr_bench.datasets.clips.views import ScaledFrames
from mcr_bench.datasets.raw.motion import nvgesture_raw as raw

CARD = Card(
    title="NVGesture (Molchanov et al.: Online Detection and Classification of Dynamic Hand Gestures with Recurrent 3D "
    "Convolutional Neural Networks, CVPR 2016)",
    homepage="https://research.nvidia.com/publication/2016-06_online-detection-and-classification-dynamic-hand-gestures-"
    "recurrent-3d",
    licence="NVIDIA's, for research; it comes with the download (not verified here); cite the paper",
    layout=raw.LAYOUT,
    expected="1,532 gestures of 25 classes: 1,050 train of 12 subjects, 482 test of 6 others (counted in the lists); a "
    "partial copy keeps the gestures with all three videos. The names of the classes are those of a public repository",
    download="nvGesture_v1.7z.001 and following parts from the homepage, unpacked with `7z x nvGesture_v1.7z.001`",
    protocols="official  the two lists; two of the training subjects select",
)


@dataclass
class NvGesture(ClipDataset):
    """Colour, depth and infrared frames of the span of each gesture."""

    name = "nvgesture"
    card = CARD
    group_name = "subject"
    variants = (Variant(1532, "all gestures of both lists"),)
    frames: int = setting(8, "number of frames of a gesture, spread evenly over its span in each stream", at_least=1)
    frame_size: int = setting(
        128, "side in pixels of the stored frames, which are squares of the whole picture", at_least=8
    )
    crop: int = setting(112, "side in pixels of the frames that the model sees", at_least=8)

    def scan(self, source: Path, splits: Sequence[Path]) -> Scan:
        """The gestures with all three videos; UserError if the folder or a list is not NVGesture's."""
        return raw.scan(source, splits)

    def listed(self, source: Path, splits: Sequence[Path]) -> Scan:
        """Every gesture of the lists in a folder."""
        return raw.listed_clips(source, splits)

    def recipe(self) -> Recipe:
        """Three streams of frames as uint8 squares; `crop` is applied during training."""
        settings = {"version": raw.VERSION, "frames": self.frames, "frame_size": self.frame_size}
        return Recipe("frames", settings, raw.fields(settings), raw.decode)

    def view(self, modality: str, cache: Cache, train: Array) -> View:
        """How batches are made: frames normalised, streams cropped alike and not flipped, as gestures have sides."""
        return ScaledFrames(modality, self.crop)

    def modalities(self) -> dict[str, Modality]:
        """Color, depth and infrared, each (frames, 3, crop, crop)."""
        return {stream: Modality((self.frames, 3, self.crop, self.crop)) for stream in raw.STREAMS}

    @property
    def class_names(self) -> tuple[str, ...]:
        """The 25 gestures in the order of the labels."""
        return raw.CLASSES

    def rules(self, cache: Cache) -> dict[str, Rule]:
        """`official`, from the lists that were prepared with the cache."""
        rows = cache.parts_of(raw.parts(cache.lists))
        selection = "validation: ours, two of the training subjects, chosen by a hash; not trained on"
        split = f"{raw.LISTS['train']} and {raw.LISTS['test']}, other subjects in each"
        return {"official": Rule(split, selection, "accuracy", lambda _: rows)}

    def missing_clips(self, cache: Cache) -> dict[str, list[str]]:
        """List -> the ids of its gestures that are not in the cache."""
        of = raw.listed(cache.lists)
        return cache.absent(
            {name: sorted(key for key, (_, at) in of.items() if at == part) for part, name in raw.LISTS.items()}
        )
