"""Any data in array form, used as it is: one .npz, or a folder of files that a dataset.toml describes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.problem.metrics import named_metrics
from mcr_bench.bench.settings.declaration import Value, setting
from mcr_bench.bench.task import TARGET_SCALE, Task
from mcr_bench.datasets.base import Card, Dataset, Facts, Protocol, Splits, require_spread
from mcr_bench.datasets.contents.findings import findings_of
from mcr_bench.datasets.contents.groups import group_folds
from mcr_bench.datasets.contents.labels import SENTIMENT
from mcr_bench.datasets.contents.table import Table, read_table, require_parts, table_of
from mcr_bench.datasets.folders.content import Content, digest_of, named, read_folder
from mcr_bench.datasets.folders.mapping import NAME
from mcr_bench.datasets.formats.foreign import conversion
from mcr_bench.datasets.formats.npz import digest

CARD = Card(
    title="Any data in array form",
    homepage="",
    licence="that of the user's data",
    layout=(
        "FILE.npz\n"
        "  x_<modality>       (N, D) vectors, (N, T, C) sequences, (N, C, H, W) images or (N, T, C, H, W) clips\n"
        "  y                  (N,) class indices 0..C-1 (whole numbers), class names (text: sorted names become\n"
        "                     class_names), or scores (floats: regression); several per sample: (N, L) labels, 0 or 1\n"
        "                     (whole numbers or bools: multi-label), or (N, K) scores (floats)\n"
        "  split              (N,) train, val or test (training, valid, validation, dev, testing are read as these)\n"
        "  length_<modality>  (N,) optional: real steps of padded sequences (N, T, C); whole numbers (N, T) beside it\n"
        "                     are ids of words, from 1 on (0 stands for no word)\n"
        "  present_<modality> (N,) optional: bool or 0/1, whether the sample has the modality; where it lacks\n"
        "                     it, values may be anything\n"
        "  group              (N,) optional: speaker, subject, ...; may not be in two splits\n"
        "                     (with 3 groups or more, protocol groups is available)\n"
        "  id                 (N,) optional: unique names of the samples\n"
        "  class_names        (C,) or (L,) optional\n"
        "or a folder of .npy, .pt, .parquet, .csv or .jsonl files, and media files that a table names:\n"
        "DIR/dataset.toml     says where the same arrays are in these files: docs/data.md (Folders of array files)"
    ),
    expected="one file, or a folder of files, that fits in memory",
)

REMEDY = (
    "Assign samples to it in 'split'. For val, every tenth sample of train is a good choice: "
    "split[np.flatnonzero(split == 'train')[::10]] = 'val' (keep groups together)."
)


@dataclass
class Arrays(Dataset):
    """Data of the user in one .npz file, or in a folder with a dataset.toml."""

    name = "arrays"
    card = CARD
    suffixes = (".npz",)
    folder_mark = NAME

    allow_group_overlap: bool = setting(False, "accept a group that is in two splits (a leak)")
    target_scale: Literal["standard", "none"] = setting("standard", TARGET_SCALE)
    task: Literal["auto", "classification", "regression", "multi-label", "sentiment"] = setting(
        "auto",
        "what `y` holds; auto reads whole numbers and text as classes, or as labels if `y` is (N, L) of 0 and 1, and "
        "floats as scores, and refuses floats that are exactly 0..C-1 or 1..C (C up to 50, 5 samples each or more), "
        "because they may be either; sentiment: one score from -3 to 3 as in CMU-MOSI, with the metrics acc7 and acc5",
    )

    @classmethod
    def conversion(cls, path: Path) -> str:
        """How a file or folder of another format becomes an .npz."""
        return conversion(path)

    @cached_property
    def _table(self) -> Table:
        if self._is_folder:
            return self._of_folder[0]
        table = read_table(self.location, self.allow_group_overlap, self.task)
        require_parts(table.part, f"'{self.location}'", REMEDY)
        return table

    @property
    def _is_folder(self) -> bool:
        return (self.location / NAME).is_file()

    @cached_property
    def _of_folder(self) -> tuple[Table, Content]:
        """The samples of a folder, and which files they are read from; the arrays as they were are let go."""
        content = read_folder(self.location)
        try:
            table = table_of(self.location, content.arrays, self.allow_group_overlap, self.task)
            require_parts(table.part, f"'{self.location}'", REMEDY)
        except UserError as error:
            raise named(error, content) from error
        return replace(table, notes=(*table.notes, *content.notes)), replace(content, arrays={})

    def acting(self, dials: Mapping[str, Value]) -> dict[str, Value]:
        """As for all datasets, with `task` resolved, so that auto and the task that it chooses are the same run."""
        return {**super().acting(dials), "task": _named(self.facts().task)}

    def labels(self, protocol: str, fold: int, seed: int) -> dict[str, Array]:
        """Part -> targets of the fold, (n,) or (n, L): whole numbers (int64) or scores (float64)."""
        return self._table.labels(self._part(protocol, fold))

    def findings(self) -> list[str]:
        """Features that look wrong, such as constants, images with channels last, possible ids, or the label itself."""
        return findings_of(self._table)

    def facts(self) -> Facts:
        """Modalities, task and notes from the arrays; reads and checks the whole file once."""
        facts = self._table.facts()
        if not facts.task.regression:
            return facts
        sentiment = SENTIMENT if self.task == "sentiment" else 0
        return replace(facts, task=replace(facts.task, target_scale=self.target_scale, sentiment=sentiment))

    def protocols(self) -> dict[str, Protocol]:
        """`file`, the split in the file; and `groups`, with folds over the groups, if there are at least 3 groups."""
        metric = named_metrics(self.facts().task)[0].name
        note = "groups may be in two splits" if self.allow_group_overlap else ""
        protocols = {"file": Protocol("file", "the split stated in the file", "validation", metric, note=note)}
        if (folds := group_folds(self._table)) is not None:
            protocols["groups"] = Protocol("groups", folds.rule, folds.selection, metric, folds.numbers, folds.note)
        return protocols

    def fingerprint(self) -> str:
        """SHA-256 of the file, or of all files of the folder that are in use."""
        self.facts()
        return digest_of(self.location, self._of_folder[1]) if self._is_folder else digest(self.location)

    def load(self, protocol: str, fold: int, seed: int, modalities: tuple[str, ...]) -> Splits:
        """The standardised parts of the protocol and fold, with the modalities in the order of the file."""
        part = self._part(protocol, fold)
        splits, absent = self._table.splits(part, modalities), self._table.absent(part)
        return replace(splits, notes={"classes_absent_from_train": len(absent)}) if absent else splits

    def require(self, protocol: str, fold: int) -> None:
        """UserError if the labels of the training part are all equal, because there is nothing to learn."""
        train = self._table.target[self._part(protocol, fold) == "train"]
        where = f"'{self.location}', protocol {protocol}, fold {fold}"
        require_spread(self.facts().task, train, where)
        if self.facts().task.regression or not (train == train[0]).all():
            return
        one = "have the same labels" if train.ndim > 1 else f"are of class '{self._table.classes[train[0]]}'"
        two = "different labels" if train.ndim > 1 else "at least two classes"
        raise UserError(
            f"{where}: all {len(train)} samples of the training part {one}: there is nothing to learn. Give training "
            f"samples of {two}. Perhaps 'split' is sorted in the same way as 'y'."
        )

    def _part(self, protocol: str, fold: int) -> Array:
        """(N,) text, the part of each sample: train, val or test. UserError for an unknown protocol or fold."""
        protocols = self.protocols()
        if protocol not in protocols:
            raise unknown(f"protocol of {self.label}", protocol, protocols)
        folds = group_folds(self._table)
        return self._table.part if protocol == "file" or folds is None else folds.part(fold)


def _named(task: Task) -> str:
    """The value of the dial `task` that gives this task."""
    if task.regression:
        return "sentiment" if task.sentiment else "regression"
    return "multi-label" if task.multi_label else "classification"
