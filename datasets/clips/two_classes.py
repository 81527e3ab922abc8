"""Sets of sequences in which a sample is something or is not, as UR-FUNNY and MUStARD."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.settings.declaration import setting
from mcr_bench.datasets.clips.sequences import SequenceSet
from mcr_bench.datasets.sequences.pickles import Label
from mcr_bench.datasets.sequences.segment import AGAIN, Sample

DOWNLOAD = "{pickle}, linked from https://github.com/pliang279/MultiBench"
PROTOCOLS = "standard  {split}"
CHANNELS = {"audio": 81, "video": 371}


@dataclass
class TwoClasses(SequenceSet):
    """Sequences of a pickle of MultiBench with one of two classes.

    The names of its samples do not say which video each is from, so that each is a group of its own.

    classes: the names of both classes, the first of label -1 or 0, the second of label 1.
    """

    group_name: ClassVar[str] = "sample"
    videos: ClassVar[bool] = False
    classes: ClassVar[tuple[str, str]]

    audio_channels: int = setting(CHANNELS["audio"], "features per step of audio", origin="MultiBench", at_least=1)
    video_channels: int = setting(CHANNELS["video"], "features per step of video", origin="MultiBench", at_least=1)

    def label_of(self) -> Label:
        """0 or 1."""
        return one_of_two

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of both classes."""
        return self.classes


def one_of_two(path: Path, sample: Sample) -> int:
    """The class of a sample, 0 or 1, from a label of -1, 0 or 1; UserError for any other."""
    if len(sample.labels) > 1 or sample.labels[0] not in (-1, 0, 1):
        shown = ", ".join(f"{x:g}" for x in sample.labels)
        raise UserError(f"'{path}': the label of '{sample.name}' is {shown}; allowed: 0 or -1, and 1. {AGAIN}")
    return int(sample.labels[0] == 1)
