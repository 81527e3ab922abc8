"""The audit of a protocol: what its parts share by id, by group and by content, and which classes they hold."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mcr_bench.bench.core.arrays import Array

PARTS = {"train": "train", "val": "validation", "test": "test"}
PAIRS = tuple(combinations(PARTS, 2))


@dataclass(frozen=True)
class Parts:
    """The samples of a dataset under one protocol and fold. part: (N,) of train, val, test and '' (unused).

    ids, groups and contents (hashes of what is trained on): N each, no groups where none are known.
    labels: (N,) classes or scores; group_name: what a group is (actor, video, subject).
    """

    part: Array
    ids: Sequence[str]
    groups: Sequence[str]
    contents: Sequence[str]
    labels: Array
    group_name: str = "group"

    def sizes(self) -> dict[str, int]:
        """Part -> number of samples; '' are the unused ones."""
        return {name: int((self.part == name).sum()) for name in (*PARTS, "")}


@dataclass(frozen=True)
class Overlap:
    """Keys that two parts share. kind: id, group or content; total: keys of the part that has fewer.

    relabelled: shared keys whose labels in one part are none of their labels in the other.
    """

    kind: str
    parts: tuple[str, str]
    shared: int
    total: int
    relabelled: int
    group_name: str = "group"

    @property
    def noun(self) -> str:
        """What is shared: ids, videos; one of them in the singular."""
        noun = self.group_name if self.kind == "group" else self.kind
        return noun if self.shared == 1 and self.total > 1 else f"{noun}s"

    @property
    def place(self) -> str:
        """The two parts in words."""
        return " and ".join(PARTS[name] for name in self.parts)

    @property
    def count(self) -> str:
        """How many: '91 of 91 groups (actors)' where one part has no key of its own, else '10 videos'."""
        if self.shared < self.total:
            return f"{self.shared:,} {self.noun}"
        named = self.kind == "group" and self.group_name != "group"
        return f"{self.shared:,} of {self.total:,} {f'groups ({self.noun})' if named else self.noun}"


def audit(parts: Parts) -> list[Overlap]:
    """Every pair of parts that shares ids, groups or contents, in this order; empty where all is disjoint."""
    keys = {"id": parts.ids, "group": parts.groups, "content": parts.contents}
    return [found for kind, of in keys.items() if of for found in _overlaps(kind, of, parts)]


def _overlaps(kind: str, keys: Sequence[str], parts: Parts) -> Iterator[Overlap]:
    rows = {name: np.flatnonzero(parts.part == name).tolist() for name in PARTS}
    held = {name: {keys[i] for i in at} for name, at in rows.items()}
    for first, second in PAIRS:
        shared = held[first] & held[second]
        if shared:
            labels = [_labels(keys, parts.labels, rows[name], shared) for name in (first, second)]
            other = sum(labels[0][key].isdisjoint(labels[1][key]) for key in shared)
            total = min(len(held[first]), len(held[second]))
            yield Overlap(kind, (first, second), len(shared), total, other, parts.group_name)


def _labels(keys: Sequence[str], labels: Array, rows: list[int], shared: set[str]) -> dict[str, set[float]]:
    found: dict[str, set[float]] = {key: set() for key in shared}
    for i in rows:
        if keys[i] in shared:
            found[keys[i]].add(float(labels[i]))
    return found


def sentence(found: Sequence[Overlap]) -> str:
    """Overlaps of one kind in words: '10 videos are in train and validation, 8 in train and test'."""
    first, *others = found
    verb = "is" if first.shared == 1 and first.total > 1 else "are"
    texts = [f"{first.count} {verb} in {first.place}"]
    for last, overlap in zip(found, others, strict=False):
        texts.append(f"{_again(last, overlap)}in {overlap.place}")
    relabelled = all(overlap.relabelled == overlap.shared for overlap in found)
    return ", ".join(texts) + (", all under other labels" if relabelled else "")


def _again(last: Overlap, found: Overlap) -> str:
    """A count as it follows another one: nothing where both are whole and equal, the number where both are partial."""
    if found.shared < found.total:
        return f"{found.shared:,} " if last.shared < last.total else f"{found.count} "
    return "" if found.count == last.count else f"{found.count} "


def note_of(folds: Mapping[int, Parts]) -> str:
    """What the card of a protocol says: 'LEAK: 91 of 91 groups (actors) in train and test'; '' where all is disjoint.

    Of several folds the worst count of each pair is told, and the folds, unless it is all of them.
    """
    worst: dict[tuple[str, tuple[str, str]], Overlap] = {}
    where: dict[tuple[str, tuple[str, str]], list[int]] = {}
    for fold, parts in folds.items():
        for found in audit(parts):
            key = (found.kind, found.parts)
            where.setdefault(key, []).append(fold)
            worst[key] = max(worst.get(key, found), found, key=lambda overlap: overlap.shared)
    told: dict[str, list[str]] = {}
    for key, at in where.items():
        told.setdefault(worst[key].count, []).append(f"in {worst[key].place}{_folds(at, len(folds))}")
    texts = [f"{count} {', '.join(places)}" for count, places in told.items()]
    return f"LEAK: {', '.join(texts)}" if texts else ""


def _folds(at: list[int], known: int) -> str:
    return "" if len(at) == known else f" (fold{'s' if len(at) > 1 else ''} {', '.join(map(str, at))})"


def empty(part: Array) -> list[str]:
    """Of training, validation and test, in words, those that have no sample. part: (N,), as that of `Parts`."""
    return [word for name, word in PARTS.items() if not (part == name).any()]


def histogram(parts: Parts, classes: int) -> dict[str, list[int]]:
    """Part -> number of samples of each class; `classes` is their number."""
    counts = {name: Counter(parts.labels[parts.part == name].astype(int).tolist()) for name in PARTS}
    return {name: [count[k] for k in range(classes)] for name, count in counts.items()}


def is_selected_on_test(parts: Parts) -> bool:
    """Whether validation holds samples of the test part (by id), so that selection sees the test set."""
    ids = np.asarray(parts.ids, dtype=object)
    return not set(ids[parts.part == "val"]).isdisjoint(ids[parts.part == "test"])
