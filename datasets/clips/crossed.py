"""Samples of an extra class that are made of two clips of one group: one modality of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.problem.overlaps import Parts
from mcr_bench.datasets.cache.opened import Index

NONE = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Crossed:
    """Samples of one part, each of one clip per modality, whose class is `label`.

    at: modality -> (k,) int64, the indices of the clips of the k samples; empty for no sample.
    label: the index of the class.
    """

    at: Mapping[str, Array] = field(default_factory=dict)
    label: int = 0

    def __len__(self) -> int:
        return len(next(iter(self.at.values()), NONE))

    def rows(self, modality: str, own: Array) -> Array:
        """The indices of a part's own clips (n,), then those of the crossed samples in a modality: (n + k,)."""
        return np.concatenate([own, self.at.get(modality, NONE)])

    def labels(self, own: Array) -> Array:
        """The labels of a part's own clips (n,), then those of the crossed samples: (n + k,)."""
        return np.concatenate([own, np.full((len(self), *own.shape[1:]), self.label, own.dtype)])

    def joined(self, names: Sequence[str]) -> list[str]:
        """One text per crossed sample, made of those of its clips. names: one text per clip."""
        return ["+".join(names[int(i)] for i in clips) for clips in zip(*self.at.values(), strict=True)]

    def groups(self, groups: Sequence[str]) -> list[str]:
        """The group of each crossed sample, which all of its clips have. groups: the group of each clip."""
        return [groups[int(i)] for i in next(iter(self.at.values()), NONE)]


def with_crossed(parts: Parts, extra: Mapping[str, Crossed]) -> Parts:
    """The samples of an audit with the crossed samples of each part (name -> samples) after them."""
    names = [name for name, crossed in extra.items() for _ in range(len(crossed))]
    if not names:
        return parts
    added = list(extra.values())
    return Parts(
        np.concatenate([parts.part, names]),
        [*parts.ids, *(text for crossed in added for text in crossed.joined(parts.ids))],
        [*parts.groups, *(group for crossed in added for group in crossed.groups(parts.groups))],
        [*parts.contents, *(text for c in added for text in c.joined(parts.contents))] if parts.contents else [],
        np.concatenate([parts.labels, *(np.full(len(c), c.label, parts.labels.dtype) for c in added)]),
        parts.group_name,
    )


def index_of(index: Index, at: Array, extra: Crossed) -> tuple[list[str], list[str]]:
    """The ids and the groups of a part's own clips `at` (n,), then those of the crossed samples."""
    ids = [index.ids[i] for i in at] + extra.joined(index.ids)
    return ids, [index.groups[i] for i in at] + extra.groups(index.groups)
