"""Any data in array form: one .npz with the samples, their targets and their splits, used as it is."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.settings.declaration import Value, setting
from mcr_bench.bench.task import TARGET_SCALE, Task
from mcr_bench.datasets.base import Card, Dataset, Facts, Protocol, Splits, require_spread
from mcr_bench.datasets.contents.findings import findings_of
from mcr_bench.datasets.contents.groups import group_folds
from mcr_bench.datasets.contents.split_names import PARTS
from mcr_bench.datasets.contents.table import Table, read_table, require_parts
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
        "                     class_names), or scores (floats: regression)\n"
        "  split              (N,) train, val or test (training, valid, validation, dev, testing are read as these)\n"
        "  length_<modality>  (N,) optional: real steps of padded sequences (N, T, C)\n"
        "  group              (N,) optional: speaker, subject, ...; may not be in two splits\n"
        "                     (3 groups or more also give protocol groups)\n"
        "  id                 (N,) optional: unique names of the samples\n"
        "  class_names        (C,) optional"
    ),
    expected="one file that fits in memory",
)

REMEDY = (
    "Assign samples to it in 'split'; val may be every tenth of train: "
    "split[np.flatnonzero(split == 'train')[::10]] = 'val' (keep groups together)."
)


@dataclass
class Arrays(Dataset):
    name: ClassVar[str] = "arrays"
    card: ClassVar[Card] = CARD
    suffixes: ClassVar[tuple[str, ...]] = (".npz",)

    allow_group_overlap: bool = setting(False, "accept a group that is in two splits (a leak)")
    target_scale: Literal["standard", "none"] = setting("standard", TARGET_SCALE)
    task: Literal["auto", "classification", "regression"] = setting(
        "auto",
        "what `y` holds: auto takes whole numbers and text as classes and floats as scores, and refuses floats that "
        "are exactly 0..C-1 or 1..C (C up to 50, 5 samples each or more), which may be either",
    )

    @classmethod
    def conversion(cls, path: Path) -> str:
        """How a file or folder of another form becomes an .npz."""
        return conversion(path)

    @cached_property
    def _table(self) -> Table:
        table = read_table(self.location, self.allow_group_overlap, self.task)
        require_parts(table.part, f"'{self.location}'", REMEDY)
        return table

    def acting(self, dials: Mapping[str, Value]) -> dict[str, Value]:
        """`task` by what it comes to: auto and what it finds are one run."""
        found = "regression" if self.facts().task.regression else "classification"
        return {**super().acting(dials), "task": found}

    def labels(self, protocol: str, fold: int, seed: int) -> dict[str, Array]:
        """The targets of each part of the fold."""
        part = self._part(protocol, fold)
        return {name: self._table.target[part == name] for name in PARTS}

    def findings(self) -> list[str]:
        """What is odd in the features: a constant, images with channels last, numbers that may be ids, the label."""
        return findings_of(self._table)

    def facts(self) -> Facts:
        """From the arrays; reads and checks the whole file once."""
        found = self._table.facts()
        return replace(found, task=Task(None, self.target_scale)) if found.task.regression else found

    def protocols(self) -> dict[str, Protocol]:
        """`file`: the split that the file states; `groups`, where it names at least 3: groups take turns."""
        metric = "mae" if self.facts().task.regression else "accuracy"
        note = "groups may be in two splits" if self.allow_group_overlap else ""
        found = {"file": Protocol("file", "the split stated in the file", "validation", metric, note=note)}
        if (folds := group_folds(self._table)) is not None:
            found["groups"] = Protocol("groups", folds.rule, folds.selection, metric, folds.numbers, folds.note)
        return found

    def fingerprint(self) -> str:
        """SHA-256 of the file."""
        self.facts()
        return digest(self.location)

    def load(self, protocol: str, fold: int, seed: int, modalities: tuple[str, ...]) -> Splits:
        """The parts of the protocol and fold, standardised; modalities in the file's order."""
        part = self._part(protocol, fold)
        splits, absent = self._table.splits(part, modalities), self._table.absent(part)
        return replace(splits, notes={"classes_absent_from_train": len(absent)}) if absent else splits

    def require(self, protocol: str, fold: int) -> None:
        """UserError where the labels of the training part are all equal: there is nothing to be learned."""
        train = self._table.target[self._part(protocol, fold) == "train"]
        where = f"'{self.location}', protocol {protocol}, fold {fold}"
        require_spread(self.facts().task, train, where)
        if not self.facts().task.regression and (train == train[0]).all():
            raise UserError(
                f"{where}: all {len(train)} samples of the training part are of class "
                f"'{self._table.classes[train[0]]}': there is nothing to be learned. Is 'split' sorted as 'y' is? "
                "Give training samples of at least two classes."
            )

    def _part(self, protocol: str, fold: int) -> Array:
        """(N,) of train, val and test; UserError for an unknown protocol or fold."""
        known = self.protocols()
        if protocol not in known:
            raise unknown(f"protocol of {self.label}", protocol, known)
        folds = group_folds(self._table)
        return self._table.part if protocol == "file" or folds is None else folds.part(fold)
