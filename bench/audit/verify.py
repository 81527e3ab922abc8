"""What `data verify` computes: counts beside the known variants, missing clips, and the audit of every protocol."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mcr_bench.bench.problem.inventory import Inventory
from mcr_bench.bench.problem.overlaps import PARTS, Overlap, Parts, audit, empty, histogram, is_selected_on_test

if TYPE_CHECKING:
    from mcr_bench.datasets.base import Dataset, Protocol


@dataclass(frozen=True)
class FoldAudit:
    """The audit of one fold.

    fold: the number of the fold.
    sizes: part (train, val, test, or '' for unused) -> the number of its samples.
    groups: part -> the number of different groups; empty if the groups are unknown.
    overlaps: what two parts share.
    selected_on_test: whether validation holds samples of the test part.
    classes: part -> the number of samples of each class, or with each label; empty for regression.
    spread: part -> the lowest, the mean and the highest score, of all scores per sample; empty for classes and labels.
    empty: the names of the parts without a sample. A fold with an empty part cannot be run.
    lacking: modality -> part -> the number of samples that lack it, of modalities that some samples lack.
    contents: whether the contents of samples are known, and so were compared.
    further: the names of what else was compared, such as texts.
    """

    fold: int
    sizes: Mapping[str, int]
    groups: Mapping[str, int]
    overlaps: list[Overlap]
    selected_on_test: bool
    classes: Mapping[str, list[int]]
    spread: Mapping[str, tuple[float, float, float]]
    empty: list[str]
    lacking: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    contents: bool = True
    further: tuple[str, ...] = ()

    def absent(self, part: str) -> list[int]:
        """The indices of the classes that have no sample in a part."""
        return [k for k, count in enumerate(self.classes.get(part, [])) if count == 0]


@dataclass(frozen=True)
class Verification:
    """The result of verifying a dataset.

    label: the name of the dataset, or of the user's file.
    source: where to ask for missing clips.
    inventory: which clips are available and which are missing.
    class_names: the names of the classes or labels; empty for regression.
    group_name: what a group is: actor, video, subject.
    protocols: each protocol with the audits of its folds.
    damaged: the ids of prepared samples that differ from what was written; None if the samples were not read.
    incomparable: whether reading the samples was requested, but their checksums are not available.
    class_noun: what `class_names` are names of: class or label.
    """

    label: str
    source: str
    inventory: Inventory
    class_names: tuple[str, ...]
    group_name: str
    protocols: list[tuple["Protocol", list[FoldAudit]]]
    damaged: list[str] | None = None
    incomparable: bool = False
    class_noun: str = "class"


def verification_of(data: "Dataset", content: bool) -> Verification:
    """Verify a dataset: take its inventory and audit every available protocol and fold.

    content: whether to read every prepared sample and to compare it with its checksum.
    """
    facts = data.facts()
    count = facts.task.classes or facts.task.labels
    damaged = data.damaged() if content else None
    protocols = [
        (protocol, [audited(fold, data.parts(name, fold), count) for fold in protocol.folds])
        for name, protocol in data.protocols().items()
    ]
    return Verification(
        data.label,
        data.card.download or data.card.homepage,
        data.inventory(),
        facts.class_names or tuple(map(str, range(count or 0))),
        data.group_name,
        protocols,
        None if damaged is None else list(damaged),
        content and damaged is None,
        "label" if facts.task.multi_label else "class",
    )


def audited(fold: int, parts: Parts, classes: int | None) -> FoldAudit:
    """The audit of one fold. classes: the number of classes or labels; None for regression."""
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
        parts.lacking(),
        bool(parts.contents),
        tuple(parts.further),
    )
