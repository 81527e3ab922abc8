"""UTD-MHAD: 27 actions of 8 people, recorded by an inertial sensor, a skeleton tracker and optionally in depth."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from mcr_bench.bench.audit.info import info_of
from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.problem.inventory import Inventory, parts_of
from mcr_bench.bench.problem.overlaps import Parts
from mcr_bench.bench.settings.declaration import Value, setting
from mcr_bench.datasets.base import Card, Dataset, Facts, Preparation, Protocol, Splits
from mcr_bench.datasets.cache.made import without_parts
from mcr_bench.datasets.cache.opened import cache_folder, open_cache
from mcr_bench.datasets.cache.packed import PackedManifest, manifest_file, pack, read_manifest
from mcr_bench.datasets.cache.prepare import NothingUsable, prepare_clips
from mcr_bench.datasets.cache.prepared import require_free, writing
from mcr_bench.datasets.contents.table import Table, read_table, require_parts
from mcr_bench.datasets.formats.npz import digest
from mcr_bench.datasets.raw.raw_files import reading
from mcr_bench.datasets.raw.utd_raw import LAYOUT, RECIPE, SUBJECTS, area_means, as_arrays, recipe, scan

CARD = Card(
    title="UTD Multimodal Human Action Dataset (Chen, Jafari, Kehtarnavaz, ICIP 2015)",
    homepage="https://personal.utdallas.edu/~kehtar/UTD-MHAD.html",
    licence="as stated on the authors' page, which offers Inertial.zip, Skeleton.zip and Depth.zip; cite the paper",
    layout=LAYOUT,
    expected="861 clips: 861 .mat files in each folder; a partial copy keeps the clips that have every modality",
    download="Inertial.zip and Skeleton.zip from the homepage, and Depth.zip to train on depth; unpacked in one folder",
    protocols="subjects: needs no list\nloso: needs no list; 8 folds, one per subject",
)
CLIPS = 861
PREPARE = "mcr-bench data prepare utd-mhad --source DIR"


@dataclass
class UtdMhad(Dataset):
    """Sequences of inertial sensor and skeleton, and depth if it was prepared."""

    name: ClassVar[str] = "utd-mhad"
    card: ClassVar[Card] = CARD
    group_name: ClassVar[str] = "subject"
    optional: ClassVar[tuple[str, ...]] = ("depth",)

    depth_pixels: int = setting(
        0,
        "depth as a sequence: the means over so many rows and columns are its channels, each standardised by itself; "
        "0 = frames of 24 x 32, of which each frame is standardised as a whole",
        at_least=0,
        at_most=24,
    )

    @property
    def _file(self) -> Path:
        return self.location / "utd-mhad.npz"

    @cached_property
    def _table(self) -> Table:
        if not self._file.is_file():
            raise UserError(f"utd-mhad is not prepared in '{self.location}'.\n{info_of(self)}")
        table = read_table(self._file)
        if self.depth_pixels and "depth" in table.values:
            table.values["depth"] = _pixels(table.values["depth"], self.depth_pixels)
        return table

    def acting(self, dials: Mapping[str, Value]) -> dict[str, Value]:
        """As for all datasets; `depth_pixels` counts where depth is a sequence."""
        return {k: v for k, v in super().acting(dials).items() if k != "depth_pixels" or v}

    def facts(self) -> Facts:
        """Inertial and skeleton, and depth if it was prepared; UserError with instructions if nothing is prepared."""
        return self._table.facts()

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

    def fingerprint(self) -> str:
        """SHA-256 of the prepared arrays."""
        self.facts()
        return digest(self._file)

    def require(self, protocol: str, fold: int) -> None:
        """UserError if a part has no prepared clip."""
        where = f"'{self._file}', protocol {protocol}, fold {fold}"
        require_parts(self._part(protocol, fold), where, f"Prepare more subjects: `{PREPARE}`.")

    def _part(self, protocol: str, fold: int) -> Array:
        if protocol not in self.protocols():
            raise unknown("protocol", protocol, self.protocols())
        return self._table.part if protocol == "subjects" else _loso(fold, self._table.groups or [])

    def load(self, protocol: str, fold: int, seed: int, modalities: tuple[str, ...]) -> Splits:
        """The standardised parts of the protocol and fold; the group of a clip is its subject."""
        self.require(protocol, fold)
        return self._table.splits(self._part(protocol, fold), modalities)

    def labels(self, protocol: str, fold: int, seed: int) -> dict[str, Array]:
        """Part -> actions (n,) int64."""
        return self._table.labels(self._part(protocol, fold))

    def parts(self, protocol: str, fold: int) -> Parts:
        """The clips of each part, for the audit; a part may be empty."""
        splits = self._table.unscaled(self._part(protocol, fold), tuple(self.facts().modalities))
        return parts_of({"train": splits.train, "val": splits.val, "test": splits.test}, self.group_name)

    def inventory(self) -> Inventory:
        """The number of prepared clips, of 861, and the files that were left out."""
        clips = len(self._table.ids)
        left_out = tuple((name, reason) for name, reason in self._manifest()["left_out"])
        return Inventory(clips, ((CLIPS, "the whole set"),), left_out)

    def damaged(self) -> Iterator[str]:
        """The ids of all clips if the file differs from what was written."""
        if self._manifest()["sha256"] != digest(self._file):
            yield from self._table.ids

    def _manifest(self) -> PackedManifest:
        """The manifest of the prepared file; UserError if it is missing or damaged."""
        try:
            return read_manifest(self._file)
        except (OSError, ValueError) as error:
            place = manifest_file(self._file)
            raise UserError(f"'{place}' is not a manifest of {self.name} ({error}). Run `{PREPARE}` again.") from error

    def prepare(self, request: Preparation) -> str:
        """Prepare a cache of the raw .mat files, and from it one .npz in `location`; reports what is left out."""
        source = request.source
        if request.splits:
            raise UserError(
                f"{self.name} has no split lists, because its subjects decide the parts. Leave out --splits."
            )
        with reading(source):
            modalities, clips = scan(source)
        with writing(self.location, source):
            require_free(files=(self._file, manifest_file(self._file)))
        how = recipe(modalities)
        folder = cache_folder(self.location, how)
        try:
            made = prepare_clips(self.name, how, clips, request, folder)
        except NothingUsable as error:
            raise UserError(f"{error}\nNothing was written. Expected:\n{LAYOUT}") from error
        with writing(self.location, source):
            cache = open_cache(folder)
            current = pack(self._file, cache, as_arrays(cache), RECIPE) and made.up_to_date
        self.__dict__.pop("_table", None)
        return self._report(current)

    def _report(self, current: bool) -> str:
        """The result of preparing in words, with the folds that have an empty part."""
        with np.load(self._file, allow_pickle=False) as arrays:  # not `facts`, which refuses a file with an empty part
            halves, groups = arrays["split"], [str(group) for group in arrays["group"]]
        parts = {("subjects", 1): halves, **{("loso", fold): _loso(fold, groups) for fold in SUBJECTS}}
        nothing = ["Up to date, nothing to do."] if current else []
        return "\n".join([*nothing, *_summary(self._manifest(), self._file), *without_parts(parts)])


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


def _summary(manifest: PackedManifest, file: Path) -> list[str]:
    modalities, left_out = manifest["modalities"], manifest["left_out"]
    lines = [f"{manifest['clips']} of {CLIPS} clips with {', '.join(modalities)} -> {file}"]
    if "depth" not in modalities:
        lines.append("no depth: the source has no Depth/*_depth.mat files")
    lines += [f"left out: {name}: {reason}" for name, reason in left_out]
    if any("depth" in f"{name} {reason}" for name, reason in left_out):
        lines.append("To keep clips without depth, prepare from a source without its folder Depth.")
    return lines
