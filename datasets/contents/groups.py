"""Folds over the groups of an array file: each group is tested once, and is never in two parts of one fold."""

from dataclasses import dataclass

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.contents.table import Table
from mcr_bench.datasets.contents.words import some_names

MOST_FOLDS = 10
SHARED = "folds share training data"


@dataclass(frozen=True)
class GroupFolds:
    """Folds that leave out one block of groups at a time.

    groups: (N,) text, the group of each sample.
    blocks: for each fold, starting with fold 1, the groups that it tests on.
    note: the note on the protocol's card.
    """

    groups: Array
    blocks: list[list[str]]
    note: str = SHARED

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the folds, from 1."""
        return tuple(range(1, len(self.blocks) + 1))

    @property
    def rule(self) -> str:
        """What a fold leaves out, in words."""
        count, most = sum(map(len, self.blocks)), max(map(len, self.blocks))
        if most == 1:
            ways = f"one of {count} groups left out at a time: fold k tests on group k of the sorted names"
        else:
            blocks = f"{len(self.blocks)} blocks of at most {most}"
            ways = f"{count} groups, sorted by name, in {blocks}: fold k tests on block k"
        return f"{ways}, validates on the next (after the last: the first), trains on the rest"

    @property
    def selection(self) -> str:
        """The part that selects the epoch."""
        return "validation (one group)" if max(map(len, self.blocks)) == 1 else "validation (one block of groups)"

    def part(self, fold: int) -> Array:
        """(N,) text, the part of each sample: train, val or test. UserError for a fold that is not in `numbers`."""
        if fold not in self.numbers:
            raise UserError(f"fold {fold}: protocol groups has folds 1 to {len(self.blocks)}.")
        held = np.where(np.isin(self.groups, self.blocks[fold % len(self.blocks)]), "val", "train")
        return np.where(np.isin(self.groups, self.blocks[fold - 1]), "test", held)


def group_folds(table: Table) -> GroupFolds | None:
    """Folds over the sorted groups, one per group but at most 10; None if there are fewer than 3 groups.

    Whole numbers are sorted by value, other names alphabetically. Nothing is random: the folds of a file are fixed.
    """
    names = sorted(set(table.groups or ()))
    if len(names) < 3:
        return None
    if all(name.isdecimal() for name in names):
        names.sort(key=int)
    blocks = [[str(g) for g in block] for block in np.array_split(np.array(names), min(len(names), MOST_FOLDS))]
    folds = GroupFolds(np.array(table.groups), blocks)
    absent = {fold: table.absent(folds.part(fold)) for fold in folds.numbers}
    lacking = ", ".join(f"{some_names(names)} in fold {fold}" for fold, names in absent.items() if names)
    return GroupFolds(folds.groups, blocks, f"{SHARED}; absent from train: {lacking}" if lacking else SHARED)
