"""The primary test: paired sign-flip permutation test, exact up to 32 pairs."""

from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from mcr_bench.bench.statistics.intervals import ROUNDING, Array

ENUMERATED = 14  # pairs up to which every sign pattern is written out
EXACT = 32  # pairs up to which the test is exact: two sorted halves of 2^16 sums
DRAWS = 99_999  # beyond: random patterns, so that the smallest p is 1e-5
CHUNK = 1_024  # patterns per matrix product, for memory


def sign_flip(differences: ArrayLike) -> float | Array:
    """Two-sided p of the paired sign-flip permutation test: of differences (n,) a float, of (n, k) one per column (k,).

    Under the null the sign of each difference is a fair coin, so p is the share of the 2^n sign patterns whose |sum| is
    at least the observed one (Fisher, The Design of Experiments, 1935, section 21). Sums within a relative 1e-10 of the
    absolute sum count as equal, so that rounding decides nothing. Exact by enumeration for n <= 14, exact by meeting in
    the middle for n <= 32, beyond that by 99,999 random patterns of fixed seed with p = (b + 1) / (m + 1).
    No pairs or only zeros give 1. ValueError on nan or infinity.
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim not in (1, 2) or not np.isfinite(d).all():
        raise ValueError(f"differences must be finite and of shape (n,) or (n, k), not {d.shape}")
    columns = d if d.ndim == 2 else d[:, None]
    least = np.abs(columns.sum(0)) - ROUNDING * np.abs(columns).sum(0)
    if len(d) <= ENUMERATED:
        p = _shares(columns, least, _patterns(len(d)))
    elif len(d) <= EXACT:
        p = np.array([meet_in_the_middle(c, t) for c, t in zip(columns.T, least, strict=True)])
    else:
        signs = np.random.default_rng(0).integers(0, 2, (DRAWS, len(d)), dtype=np.int8) * np.int8(2) - np.int8(1)
        p = (_shares(columns, least, signs) * DRAWS + 1) / (DRAWS + 1)
    return p if d.ndim == 2 else float(p[0])


def meet_in_the_middle(differences: Array, least: float) -> float:
    """Share of the sign patterns of differences (n,) with |sum| >= least, in 2^(n/2) steps instead of 2^n.

    Each half of the pairs has its sorted sums; for a sum of the one, a binary search counts partners in the other.
    """
    half = len(differences) // 2
    left, right = _sorted_sums(differences[:half]), _sorted_sums(differences[half:])
    if least <= 0:
        return 1.0
    # The patterns come in pairs of opposite sign, so the upper tail is half of the answer.
    above = len(right) - np.searchsorted(right, least - left)
    return 2 * float(above.sum()) / (len(left) * len(right))


def _sorted_sums(differences: Array) -> Array:
    sums = np.zeros(1)
    for d in differences:
        sums = np.sort(np.concatenate([sums - abs(d), sums + abs(d)]), kind="stable")  # two runs: the sort merges
    return sums


@lru_cache
def _patterns(n: int) -> Array:
    """Half of the sign patterns (2^(n-1), n): the first sign is fixed, as |sum| does not change with all signs."""
    return np.array([(1.0,) * min(n, 1) + rest for rest in product((1.0, -1.0), repeat=max(n - 1, 0))])


def _shares(columns: Array, least: Array, patterns: np.ndarray) -> Array:
    """Per column (n, k) the share of patterns (m, n) with |sum| >= least (k,)."""
    hits = np.zeros(columns.shape[1])
    for start in range(0, len(patterns), CHUNK):
        hits += (np.abs(patterns[start : start + CHUNK] @ columns) >= least).sum(0)
    return hits / len(patterns)
