"""UCF101: human actions in YouTube clips, the 51 classes with sound."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.settings.declaration import setting
from mcr_bench.datasets.base import Card
from mcr_bench.datasets.cache.opened import Cache
from mcr_bench.datasets.clips.audio_visual import AudioVisual
from mcr_bench.datasets.clips.dataset import Recipe, Rule, Scan, Variant
from mcr_bench.datasets.raw import ucf_raw

CARD = Card(
    title="UCF101 (Soomro, Zamir, Shah: UCF101, A Dataset of 101 Human Actions Classes From Videos in The Wild, 2012)",
    homepage="https://www.crcv.ucf.edu/data/UCF101.php",
    licence="none is stated; the videos are YouTube's, for research; ask the authors, and cite the paper",
    layout=ucf_raw.LAYOUT,
    expected="13,320 clips of 101 classes, of which 6,845 are of the 51 classes that are used; clips without sound or "
    "of 3 s or less are left out; a partial copy keeps its clips",
    download="UCF101.rar and UCF101TrainTestSplits-RecognitionTask.zip of the homepage, both unpacked in SOURCE",
    size="about 7 GB",
    protocols="official  folds 1, 2, 3 of ucfTrainTestlist",
)
SPLIT = "trainlist0K.txt and testlist0K.txt of fold K, the 51 classes with sound"
SELECTION = "validation: ours, a tenth of the training groups, stratified by class; not trained on"


@dataclass
class Ucf101(AudioVisual):
    """Log magnitudes of the sound and a few frames."""

    name: ClassVar[str] = "ucf101"
    card: ClassVar[Card] = CARD
    variants: ClassVar[tuple[Variant, ...]] = (Variant(6845, "every listed clip of the 51 classes"),)
    frames: int = setting(
        4, "number of frames of a clip, one per second; shorter clips are left out", origin="MCR code", at_least=1
    )

    def scan(self, source: Path, splits: Sequence[Path]) -> Scan:
        """The clips of the 51 classes; UserError if the folder or a list is not UCF101's."""
        return ucf_raw.scan(source, splits)

    def listed(self, source: Path, splits: Sequence[Path]) -> Scan:
        """Every clip of the 51 classes in the lists of a folder."""
        return ucf_raw.listed_clips(source, splits)

    def recipe(self) -> Recipe:
        """Spectrogram (1, 257, 136) float16 of the first 3 s, and frames uint8 at 0, 1, 2, ... seconds."""
        settings = {"version": ucf_raw.VERSION, "frames": self.frames, "frame_size": self.frame_size}
        return Recipe("resnet", settings, ucf_raw.fields(settings), ucf_raw.decode)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The 51 classes in alphabetical order."""
        return ucf_raw.CLASSES

    def rules(self, cache: Cache) -> dict[str, Rule]:
        """`official`, with the folds of the lists that were prepared with the cache."""

        def part(fold: int) -> Array:
            return cache.parts_of(ucf_raw.parts(fold, cache.lists))

        return {"official": Rule(SPLIT, SELECTION, "accuracy", part, folds=ucf_raw.folds(cache.lists))}

    def missing_clips(self, cache: Cache) -> dict[str, list[str]]:
        """List -> the ids of its clips that are not in the cache."""
        listed = {}
        for fold in ucf_raw.folds(cache.lists):
            for part, keys in ucf_raw.fold_lists(fold, cache.lists).items():
                listed[ucf_raw.list_names(fold)[part]] = sorted({ucf_raw.clip_id(key) for key in keys})
        return cache.absent(listed)
