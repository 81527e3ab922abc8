"""What `data verify` finds: counts against the known variants, what is missing, and the audit of every protocol."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mcr_bench.datasets._audit import PARTS, Overlap, Parts, audit, empty, histogram, is_selected_on_test

if TYPE_CHECKING:
    from mcr_bench.datasets.base import Dataset, Protocol, Split

BLOCK = 256  # samples hashed at a time: those on disk may be large


@dataclass(frozen=True)
class Inventory:
    """What is there of a set. variants: (clips, name) of its known states; left_out: (file or clip, reason).

    missing: split list -> the clips that it names and that are not there; unusable: clips that could not be decoded.
    libraries: versions of those that the clips were decoded with; installed: of the same libraries now.
    findings: (clip, what is odd about it), of those that are there; notes: (folder or list, what was found there).
    """

    clips: int
    variants: tuple[tuple[int, str], ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    missing: Mapping[str, list[str]] = field(default_factory=dict)
    unusable: int = 0
    libraries: tuple[str, ...] = ()
    installed: str = ""
    findings: tuple[tuple[str, str], ...] = ()
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def is_partial(self) -> bool:
        """Whether this is no known state; where none is known, whether anything was left out or named in vain."""
        if self.variants:
            return not (self.state(self.clips) or self.state(self.clips + self.unusable))
        return bool(self.left_out or any(self.missing.values()))

    def state(self, clips: int) -> str:
        """The known state that has this number of clips: '5,820 of 7,442: the vavl list'; '' where none has."""
        names = [name for size, name in self.variants if size == clips]
        return f"{clips:,} of {max(size for size, _ in self.variants):,}: {' or '.join(names)}" if names else ""

    def counted(self) -> str:
        """The number of clips in words, with the known state or with all that are known."""
        known = ", ".join(f"{size:,} {name}" for size, name in self.variants)
        whole = self.state(self.clips + self.unusable) if self.unusable else ""
        if whole and not self.state(self.clips):
            return f"{whole}; {self.unusable:,} of them cannot be used, {self.clips:,} are left"
        return self.state(self.clips) or f"{self.clips:,} clips" + (
            f", no known state (known: {known})" if known else ""
        )


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

    @property
    def text(self) -> str:
        """For a terminal."""
        from mcr_bench.datasets._verify_text import text_of

        return text_of(self)

    @property
    def data(self) -> dict[str, Any]:
        """For JSON."""
        from mcr_bench.datasets._verify_text import data_of

        return data_of(self)


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


def parts_of(splits: Mapping[str, "Split"], group_name: str) -> Parts:
    """Loaded splits as the audit sees them; the content of a sample is a hash of its values in all modalities."""
    found = list(splits.values())
    return Parts(
        np.repeat(list(splits), [len(split) for split in found]),
        [i for split in found for i in split.ids],
        [g for split in found for g in split.groups or []],
        [content for split in found for content in _contents(split)],
        torch.cat([split.target for split in found]).numpy(),
        group_name,
    )


def _contents(split: "Split") -> Iterator[str]:
    for first in range(0, len(split), BLOCK):
        inputs = split.batch(torch.arange(first, min(first + BLOCK, len(split)))).inputs
        tensors = [*inputs.values.values(), *inputs.lengths.values()]
        for row in zip(*(x.numpy() for x in tensors), strict=True):
            yield hashlib.sha256(b"".join(x.tobytes() for x in row)).hexdigest()
