"""What `data verify` finds: counts against the known variants, what is missing, and the audit of every protocol."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mcr_bench.bench.problem.inventory import Inventory
from mcr_bench.bench.problem.overlaps import PARTS, Overlap, Parts, audit, empty, histogram, is_selected_on_test

if TYPE_CHECKING:
    from mcr_bench.datasets.base import Dataset, Protocol


@dataclass(frozen=True)
class FoldAudit:
    """One fold. sizes, groups: part (train, val, test, and '' for unused) -> samples, different groups.

    classes: part -> samples per class, empty for regression; spread: part -> lowest, mean and highest score.
    empty: the parts without a sample, in words: a fold that has one cannot be run.
    selected_on_test: whether validation holds samples of the test part.
    """

    fold: int
    sizes: Mapping[str, int]
    groups: Mapping[str, int]
    overlaps: list[Overlap]
    selected_on_test: bool
    classes: Mapping[str, list[int]]
    spread: Mapping[str, tuple[float, float, float]]
    empty: list[str]

    def absent(self, part: str) -> list[int]:
        """The classes without a sample in a part."""
        return [k for k, count in enumerate(self.classes.get(part, [])) if count == 0]


@dataclass(frozen=True)
class Verification:
    """What was found out about a prepared set. source: where to ask for what is missing; damaged: ids of the samples
    that are not what was written, None where they were not read; incomparable: whether they were to be read, but no
    checksums of them are kept.
    """

    label: str
    source: str
    inventory: Inventory
    class_names: tuple[str, ...]
    group_name: str
    protocols: list[tuple["Protocol", list[FoldAudit]]]
    damaged: list[str] | None = None
    incomparable: bool = False


def verification_of(data: "Dataset", content: bool) -> Verification:
    """The inventory, and the audit of every protocol and fold that the set can serve."""
    facts = data.facts()
    damaged = data.damaged() if content else None
    protocols = [
        (protocol, [audited(fold, data.parts(name, fold), facts.task.classes) for fold in protocol.folds])
        for name, protocol in data.protocols().items()
    ]
    return Verification(
        data.label,
        data.card.download or data.card.homepage,
        data.inventory(),
        facts.class_names,
        data.group_name,
        protocols,
        None if damaged is None else list(damaged),
        content and damaged is None,
    )


def audited(fold: int, parts: Parts, classes: int | None) -> FoldAudit:
    """The audit of one fold; classes: their number, None for regression."""
    rows = {name: np.flatnonzero(parts.part == name).tolist() for name in PARTS}
    scores = {} if classes else {name: parts.labels[at] for name, at in rows.items() if at}
    return FoldAudit(
        fold,
        parts.sizes(),
        {name: len({parts.groups[i] for i in at}) for name, at in rows.items() if parts.groups},
        audit(parts),
        is_selected_on_test(parts),
        histogram(parts, classes) if classes else {},
        {name: (float(y.min()), float(y.mean()), float(y.max())) for name, y in scores.items()},
        empty(parts.part),
    )
