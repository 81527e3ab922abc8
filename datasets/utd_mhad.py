"""UTD-MHAD: 27 actions of 8 people, recorded by an inertial sensor, a skeleton tracker and optionally in depth."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.settings.declaration import Value, setting
from mcr_bench.datasets.base import Card, Protocol
from mcr_bench.datasets.clips.packed import PackedDataset, Packing
from mcr_bench.datasets.contents.table import Table, read_table
from mcr_bench.datasets.raw.raw_files import reading
from mcr_bench.datasets.raw.utd_raw import LAYOUT, RECIPE, SUBJECTS, area_means, as_arrays, recipe, scan

CARD = Card(
    title="UTD-MHAD: UTD Multimodal Human Action Dataset (Chen, Jafari, Kehtarnavaz, ICIP 2015)",
    homepage="https://personal.utdallas.edu/~kehtar/UTD-MHAD.html",
    licence="as stated on the authors' page, which offers Inertial.zip, Skeleton.zip and Depth.zip; cite the paper",
    layout=LAYOUT,
    expected="861 clips: 861 .mat files in each folder; a partial copy keeps the clips that have every modality",
    download="Inertial.zip and Skeleton.zip from the homepage, and Depth.zip to train on depth; unpacked in one folder",
    protocols="subjects: needs no list\nloso: needs no list; 8 folds, one per subject",
)


@dataclass
class UtdMhad(PackedDataset):
    """Sequences of inertial sensor and skeleton, and depth if it was prepared; the group of a clip is its subject."""

    name = "utd-mhad"
    card = CARD
    group_name = "subject"
    optional = ("depth",)
    whole = 861

    depth_pixels: int = setting(
        0,
        "depth as a sequence: the means over so many rows and columns are its channels, each standardised by itself; "
        "0 = frames of 24 x 32, of which each frame is standardised as a whole",
        at_least=0,
        at_most=24,
    )

    def read(self) -> Table:
        """The samples of the packed file, depth as a sequence of pixels if `depth_pixels` says so."""
        table = read_table(self.file)
        if self.depth_pixels and "depth" in table.values:
            table.values["depth"] = _pixels(table.values["depth"], self.depth_pixels)
        return table

    def acting(self, dials: Mapping[str, Value]) -> dict[str, Value]:
        """As for all datasets; `depth_pixels` counts where depth is a sequence."""
        return {k: v for k, v in super().acting(dials).items() if k != "depth_pixels" or v}

    def protocols(self) -> dict[str, Protocol]:
        """`subjects` (test subjects of the original paper) and `loso` (leave one subject out)."""
        halves = "subjects 1, 3, 5 train, 7 validation, 2, 4, 6, 8 test"
        turns = "fold k tests on subject k, validates on k + 1 (8: on 1), trains on the other six"
        return {
            "subjects": Protocol(
                "subjects", halves, "validation (one subject)", "accuracy", note="test as in the original paper"
            ),
            "loso": Protocol("loso", turns, "validation (one subject)", "accuracy", folds=SUBJECTS),
        }

    def part(self, protocol: str, fold: int) -> Array:
        """(N,) text, the part of each clip: train, val or test; UserError for an unknown protocol or fold."""
        if protocol not in self.protocols():
            raise unknown("protocol", protocol, self.protocols())
        return self.table.part if protocol == "subjects" else _loso(fold, self.table.groups or [])

    def every_part(self) -> dict[tuple[str, int], Array]:
        """(protocol, fold) -> (N,) text, the part of each clip of the packed file, which need not hold every part."""
        with np.load(self.file, allow_pickle=False) as arrays:
            halves, groups = arrays["split"], [str(group) for group in arrays["group"]]
        return {("subjects", 1): halves, **{("loso", fold): _loso(fold, groups) for fold in SUBJECTS}}

    def packing(self, source: Path) -> Packing:
        """The clips of a raw folder with the modalities that it has; UserError with the layout if it is another one."""
        with reading(source):
            modalities, clips = scan(source)
        return Packing(clips, recipe(modalities), as_arrays, RECIPE)

    def remarks(self) -> list[str]:
        """What is to be known about depth."""
        manifest = self.manifest()
        lines = [] if "depth" in manifest["modalities"] else ["no depth: the source has no Depth/*_depth.mat files"]
        if any("depth" in f"{name} {reason}" for name, reason in manifest["left_out"]):
            lines.append("To keep clips without depth, prepare from a source without its folder Depth.")
        return lines


def _pixels(frames: Array, size: int) -> Array:
    """(N, T, H, W) -> (N, T, size^2): the means over size x size areas of nearly equal size."""
    means = area_means(area_means(frames, size, 2), size, 3)
    return means.reshape(*means.shape[:2], -1)


def _loso(fold: int, groups: list[str]) -> Array:
    """(N,) text, the part of each clip. groups: the subject of each of N clips."""
    if fold not in SUBJECTS:
        raise UserError(f"fold {fold}: protocol loso has folds 1 to 8, one per subject.")
    held = {str(fold): "test", str(fold % 8 + 1): "val"}
    return np.array([held.get(group, "train") for group in groups])
