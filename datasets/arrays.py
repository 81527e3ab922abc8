"""Any data in array form: one .npz with the samples, their targets and their splits, used as it is."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal

from mcr_bench.bench.errors import unknown
from mcr_bench.bench.settings import setting
from mcr_bench.bench.task import TARGET_SCALE, Task
from mcr_bench.datasets._groups import group_folds
from mcr_bench.datasets._npz import Array, digest
from mcr_bench.datasets._table import Table, read_table, require_parts
from mcr_bench.datasets.base import Card, Dataset, Facts, Protocol, Splits, require_spread

CARD = Card(
    title="Any data in array form",
    homepage="",
    licence="that of the user's data",
    layout=(
        "FILE.npz\n"
        "  x_<modality>       (N, D) vectors, (N, T, C) sequences, (N, C, H, W) images or (N, T, C, H, W) clips\n"
        "  y                  (N,) class indices 0..C-1 (whole numbers), or scores (floats: regression)\n"
        "  split              (N,) train, val or test\n"
        "  length_<modality>  (N,) optional: real steps of padded sequences (N, T, C)\n"
        "  group              (N,) optional: speaker, subject, ...; may not be in two splits\n"
        "                     (3 groups or more also give protocol groups)\n"
        "  id                 (N,) optional: unique names of the samples\n"
        "  class_names        (C,) optional"
    ),
    expected="one file that fits in memory",
)


@dataclass
class Arrays(Dataset):
    name: ClassVar[str] = "arrays"
    card: ClassVar[Card] = CARD
    suffixes: ClassVar[tuple[str, ...]] = (".npz",)

    allow_group_overlap: bool = setting(False, "accept a group that is in two splits (a leak)")
    target_scale: Literal["standard", "none"] = setting("standard", TARGET_SCALE)

    @cached_property
    def _table(self) -> Table:
        table = read_table(self.location, self.allow_group_overlap)
        require_parts(table.part, f"'{self.location}'", "Assign samples to it in 'split'.")
        return table

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
        splits = self._table.splits(part, modalities)
        absent = self._table.absent(part) if protocol == "groups" else []
        return replace(splits, notes={"classes_absent_from_train": len(absent)}) if absent else splits

    def require(self, protocol: str, fold: int) -> None:
        """UserError where all scores of the training part are equal."""
        train = self._table.target[self._part(protocol, fold) == "train"]
        require_spread(self.facts().task, train, f"'{self.location}', protocol {protocol}, fold {fold}")

    def _part(self, protocol: str, fold: int) -> Array:
        """(N,) of train, val and test."""
        known = self.protocols()
        if protocol not in known:
            raise unknown(f"protocol of {self.label}", protocol, known)
        folds = group_folds(self._table)
        return self._table.part if protocol == "file" or folds is None else folds.part(fold)
