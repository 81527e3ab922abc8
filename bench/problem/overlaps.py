"""The audit of a protocol: which ids, groups, contents and parts of contents are shared, and the classes of parts."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from mcr_bench.bench.core.arrays import Array

PARTS = {"train": "train", "val": "validation", "test": "test"}
PAIRS = tuple(combinations(PARTS, 2))


@dataclass(frozen=True)
class Parts:
    """The N samples of a dataset under one protocol and fold.

    part: (N,) text, the part of each sample: train, val, test, or '' if it is unused.
    ids: the N ids.
    groups: the N groups; empty if the groups are unknown.
    contents: N hashes of what is trained on.
    labels: (N,) class indices (int64) or scores (float), or (N, L) if a sample has several.
    group_name: what a group is: actor, video, subject.
    present: modality -> (N,) bool, whether each sample has it; only modalities that some samples lack.
    further: what two samples may have in common beside their whole content, such as "text" -> N codes of it.
    """

    part: Array
    ids: Sequence[str]
    groups: Sequence[str]
    contents: Sequence[str]
    labels: Array
    group_name: str = "group"
    present: Mapping[str, Array] = field(default_factory=dict)
    further: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def sizes(self) -> dict[str, int]:
        """Part -> number of samples, with '' for the unused ones."""
        return {name: int((self.part == name).sum()) for name in (*PARTS, "")}

    def lacking(self) -> dict[str, dict[str, int]]:
        """Modality -> part -> the number of samples that lack it, of modalities that some lack."""
        return {m: {name: int((~has & (self.part == name)).sum()) for name in PARTS} for m, has in self.present.items()}


@dataclass(frozen=True)
class Overlap:
    """Keys that two parts share.

    kind: what the keys are: id, group, content, or a name of `Parts.further`.
    parts: the names of the two parts.
    shared: the number of keys that both parts have.
    total: the number of keys of the part that has fewer.
    relabelled: the number of shared keys that have no label of one part in the other part.
    group_name: what a group is: actor, video, subject.
    """

    kind: str
    parts: tuple[str, str]
    shared: int
    total: int
    relabelled: int
    group_name: str = "group"

    @property
    def noun(self) -> str:
        """What is shared, such as ids or videos; in the singular if it is one of several."""
        noun = self.group_name if self.kind == "group" else self.kind
        return noun if self.shared == 1 and self.total > 1 else f"{noun}s"

    @property
    def place(self) -> str:
        """The two parts in words."""
        return " and ".join(PARTS[name] for name in self.parts)

    @property
    def count(self) -> str:
        """How many keys are shared. The total is given only if one part has no key of its own.

        >>> Overlap("group", ("train", "test"), 91, 91, 0, "actor").count
        '91 of 91 groups (actors)'
        >>> Overlap("group", ("train", "val"), 10, 90, 0, "video").count
        '10 videos'
        """
        if self.shared < self.total:
            return f"{self.shared:,} {self.noun}"
        named = self.kind == "group" and self.group_name != "group"
        return f"{self.shared:,} of {self.total:,} {f'groups ({self.noun})' if named else self.noun}"


def audit(parts: Parts) -> list[Overlap]:
    """Every pair of parts that share ids, groups, contents, or what `further` names; empty if all are disjoint."""
    keys = {"id": parts.ids, "group": parts.groups, "content": parts.contents, **parts.further}
    return [overlap for kind, of in keys.items() if of for overlap in _overlaps(kind, of, parts)]


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


def _labels(keys: Sequence[str], labels: Array, rows: list[int], shared: set[str]) -> dict[str, set[tuple[float, ...]]]:
    labels_by_key: dict[str, set[tuple[float, ...]]] = {key: set() for key in shared}
    for i in rows:
        if keys[i] in shared:
            labels_by_key[keys[i]].add(tuple(np.atleast_1d(labels[i]).tolist()))
    return labels_by_key


def sentence(overlaps: Sequence[Overlap]) -> str:
    """Overlaps of one kind, at least one, in words.

    >>> sentence([Overlap("id", ("train", "val"), 10, 90, 0), Overlap("id", ("train", "test"), 8, 90, 0)])
    '10 ids are in train and validation, 8 in train and test'
    """
    first, *others = overlaps
    verb = "is" if first.shared == 1 and first.total > 1 else "are"
    texts = [f"{first.count} {verb} in {first.place}"]
    for last, overlap in zip(overlaps, others, strict=False):
        texts.append(f"{_next_count(last, overlap)}in {overlap.place}")
    relabelled = all(overlap.relabelled == overlap.shared for overlap in overlaps)
    return ", ".join(texts) + (", all under other labels" if relabelled else "")


def _next_count(last: Overlap, overlap: Overlap) -> str:
    """A count as it follows the last one: '' if both are complete and equal, the number alone if both are partial."""
    if overlap.shared < overlap.total:
        return f"{overlap.shared:,} " if last.shared < last.total else f"{overlap.count} "
    return "" if overlap.count == last.count else f"{overlap.count} "


def note_of(folds: Mapping[int, Parts]) -> str:
    """What the card of a protocol says about leaks, such as 'LEAK: 91 of 91 groups (actors) in train and test'.

    '' if the parts of every fold are disjoint. Of several folds the worst count of each pair of parts is given, with
    the folds that have it unless all have it.
    """
    worst: dict[tuple[str, tuple[str, str]], Overlap] = {}
    where: dict[tuple[str, tuple[str, str]], list[int]] = {}
    for fold, parts in folds.items():
        for overlap in audit(parts):
            key = (overlap.kind, overlap.parts)
            where.setdefault(key, []).append(fold)
            worst[key] = max(worst.get(key, overlap), overlap, key=lambda overlap: overlap.shared)
    places_by_count: dict[str, list[str]] = {}
    for key, at in where.items():
        places = places_by_count.setdefault(worst[key].count, [])
        places.append(f"in {worst[key].place}{_in_folds(at, len(folds))}")
    texts = [f"{count} {', '.join(places)}" for count, places in places_by_count.items()]
    return f"LEAK: {', '.join(texts)}" if texts else ""


def _in_folds(at: list[int], total: int) -> str:
    if len(at) == total:
        return ""
    return f" (fold{'s' if len(at) > 1 else ''} {', '.join(map(str, at))})"


def empty(part: Array) -> list[str]:
    """The names of the parts that have no sample. part: (N,) text, as in `Parts`.

    >>> empty(np.array(["train", "test"]))
    ['validation']
    """
    return [word for name, word in PARTS.items() if not (part == name).any()]


def histogram(parts: Parts, classes: int) -> dict[str, list[int]]:
    """Part -> the number of samples of each class, or with each label; `classes` is the number of classes or labels."""
    if parts.labels.ndim > 1:
        return {name: (parts.labels[parts.part == name] > 0).sum(0).tolist() for name in PARTS}
    counts = {name: Counter(parts.labels[parts.part == name].astype(int).tolist()) for name in PARTS}
    return {name: [count[k] for k in range(classes)] for name, count in counts.items()}


def is_selected_on_test(parts: Parts) -> bool:
    """Whether validation holds samples of the test part, compared by id, so that selection sees the test set."""
    ids = np.asarray(parts.ids, dtype=object)
    return not set(ids[parts.part == "val"]).isdisjoint(ids[parts.part == "test"])
