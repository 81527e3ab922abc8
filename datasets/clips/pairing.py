"""Which clips of one kin are paired, so that the labels of a pair differ and no clip is used twice in one place."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from mcr_bench.bench.core.arrays import Array


def pairs_of(ids: Sequence[str], kin: Sequence[str], labels: Array, share: float) -> Array:
    """(k, 2) int64: k pairs of clips of one kin with different labels; each clip is at most once first, once second.

    ids, kin, labels: of n clips, those of one part. k is share * n rounded, or fewer if there are not so many pairs.
    Nothing is random: the order is that of hashes of the ids, so that the order of the clips does not matter.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for at in sorted(range(len(ids)), key=lambda at: _hash(ids[at])):
        members[kin[at]].append(at)
    pairs = [pair for of in members.values() for pair in _deranged(of, labels)]
    pairs.sort(key=lambda pair: _hash(f"{ids[pair[0]]}+{ids[pair[1]]}"))
    return np.array(pairs[: round(share * len(ids))], np.int64).reshape(-1, 2)


def _deranged(members: Sequence[int], labels: Array) -> list[tuple[int, int]]:
    """Each member with the next one, in a circle, that has another label and is not used yet."""
    pairs, used = [], set[int]()
    for place, first in enumerate(members):
        circle = (*members[place + 1 :], *members[:place])
        second = next((at for at in circle if at not in used and labels[at] != labels[first]), None)
        if second is not None:
            used.add(second)
            pairs.append((first, second))
    return pairs


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
