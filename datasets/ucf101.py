"""UCF101: human actions in YouTube clips; the 51 classes with sound, or all 101 as frames and optical flow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.settings.declaration import Value, setting
from mcr_bench.datasets.base import Card, Modality
from mcr_bench.datasets.cache.opened import Cache
from mcr_bench.datasets.clips.audio_visual import AudioVisual
from mcr_bench.datasets.clips.crops import INCEPTION
from mcr_bench.datasets.clips.dataset import Recipe, Rule, Scan, Variant
from mcr_bench.datasets.clips.rows import View
from mcr_bench.datasets.clips.views import Flow
from mcr_bench.datasets.raw import ucf_raw
from mcr_bench.datasets.raw.motion import ucf_flow

CARD = Card(
    title="UCF101 (Soomro, Zamir, Shah: UCF101, A Dataset of 101 Human Actions Classes From Videos in The Wild, 2012)",
    homepage="https://www.crcv.ucf.edu/data/UCF101.php",
    licence="none is stated; the videos are YouTube's, for research; ask the authors, and cite the paper",
    layout=f"{ucf_raw.LAYOUT}\n{ucf_flow.LAYOUT}",
    expected="13,320 clips of 101 classes, of which 6,845 are of the 51 classes with sound (dataset.flow=none); there "
    "clips without sound or of 3 s or less are left out; a partial copy keeps its clips",
    download="UCF101.rar and UCF101TrainTestSplits-RecognitionTask.zip of the homepage, both unpacked in SOURCE",
    size="about 7 GB",
    protocols="official  folds 1, 2, 3 of ucfTrainTestlist",
)
SPLIT = "trainlist0K.txt and testlist0K.txt of fold K"
SELECTION = "validation: ours, a tenth of the training groups, stratified by class; not trained on"


@dataclass
class Ucf101(AudioVisual):
    """Log magnitudes of the sound and a few frames; or frames and optical flow."""

    name = "ucf101"
    card = CARD
    variants = (
        Variant(13_320, "every listed clip of the 101 classes"),
        Variant(6845, "every listed clip of the 51 classes with sound"),
    )
    frames: int = setting(
        4,
        "number of frames of a clip, one per second, where shorter clips are left out; with flow spread evenly over it",
        origin="MCR code",
        at_least=1,
    )
    flow: Literal["none", "dis", "tvl1"] = setting(
        "none",
        "the second modality; none: sound, of the 51 classes that have it; dis: optical flow that `prepare` computes, "
        "of all 101 classes; tvl1: the flow images of the two-stream release, of all 101 classes",
    )

    def scan(self, source: Path, splits: Sequence[Path]) -> Scan:
        """The clips of the used classes; UserError if the folder or a list is not UCF101's."""
        return ucf_raw.scan(source, splits) if self.flow == "none" else ucf_flow.scan(source, splits, self.flow)

    def listed(self, source: Path, splits: Sequence[Path]) -> Scan:
        """Every clip of the used classes in the lists of a folder."""
        return ucf_raw.listed_clips(source, splits, self.class_names)

    def acting(self, dials: Mapping[str, Value]) -> dict[str, Value]:
        """All settings; `flow` only where it is used, so that runs with sound keep their keys."""
        return {key: value for key, value in dials.items() if key != "flow" or value != "none"}

    @property
    def prepared_size(self) -> tuple[int, int]:
        """The number of clips of the used classes, and the bytes of their rows."""
        clips = min(v.clips for v in self.variants) if self.flow == "none" else max(v.clips for v in self.variants)
        return clips, clips * self.recipe().row_bytes

    def recipe(self) -> Recipe:
        """Spectrogram (1, 257, 136) float16 of the first 3 s, and frames at 0, 1, 2, ... s; or frames and flow."""
        if self.flow != "none":
            dials = {"frames": self.frames, "frame_size": self.frame_size}
            how = {"version": ucf_flow.VERSION, "flow": ucf_flow.HOW[self.flow], "bound": ucf_flow.BOUND}
            return Recipe(f"flow-{self.flow}", how | dials, ucf_flow.fields(dials), ucf_flow.decode)
        settings = {"version": ucf_raw.VERSION, "frames": self.frames, "frame_size": self.frame_size}
        return Recipe("resnet", settings, ucf_raw.fields(settings), ucf_raw.decode)

    def view(self, modality: str, cache: Cache, train: Array) -> View:
        """How batches are made; flow in pixels as an image (u, v, 0), cropped and flipped as the frames are."""
        if modality != "flow":
            return super().view(modality, cache, train)
        zero, unit = ucf_flow.CODES[self.flow]
        return Flow("flow", self.crop, crop=INCEPTION, zero=zero, unit=unit)

    def modalities(self) -> dict[str, Modality]:
        """Audio and video, or video and flow, each (frames, 3, crop, crop)."""
        if self.flow == "none":
            return super().modalities()
        shape = (self.frames, 3, self.crop, self.crop)
        return {"video": Modality(shape), "flow": Modality(shape)}

    @property
    def class_names(self) -> tuple[str, ...]:
        """The 51 classes with sound, or all 101, in alphabetical order."""
        return ucf_raw.CLASSES if self.flow == "none" else ucf_raw.ALL

    def rules(self, cache: Cache) -> dict[str, Rule]:
        """`official`, with the folds of the lists that were prepared with the cache."""

        def part(fold: int) -> Array:
            return cache.parts_of(ucf_raw.parts(fold, cache.lists, self.class_names))

        split = f"{SPLIT}, {'the 51 classes with sound' if self.flow == 'none' else 'all 101 classes'}"
        return {"official": Rule(split, SELECTION, "accuracy", part, folds=ucf_raw.folds(cache.lists))}

    def missing_clips(self, cache: Cache) -> dict[str, list[str]]:
        """List -> the ids of its clips that are not in the cache."""
        listed = {}
        for fold in ucf_raw.folds(cache.lists):
            for part, keys in ucf_raw.fold_lists(fold, cache.lists, self.class_names).items():
                listed[ucf_raw.list_names(fold)[part]] = sorted({ucf_raw.clip_id(key) for key in keys})
        return cache.absent(listed)
