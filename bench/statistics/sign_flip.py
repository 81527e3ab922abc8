"""The primary test: paired sign-flip permutation test, exact up to 32 pairs."""

from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from mcr_bench.bench.statistics.intervals import ROUNDING, Array

ENUMERATED = 14  # up to this many pairs every sign pattern is enumerated
EXACT = 32  # up to this many pairs the test is exact: two sorted halves of 2^16 sums
DRAWS = 99_999  # random patterns for more pairs, so that the smallest p is 1e-5
CHUNK = 1_024  # patterns per matrix product, which limits memory


def sign_flip_name(pairs: int) -> str:
    """What the test is called with this many pairs, as it enumerates all patterns up to 32 of them.

    >>> sign_flip_name(9), sign_flip_name(33)
    ('exact sign-flip', 'sign-flip with 99,999 random patterns')
    """
    return "exact sign-flip" if pairs <= EXACT else f"sign-flip with {DRAWS:,} random patterns"


def sign_flip(differences: ArrayLike) -> float | Array:
    """The two-sided p of the paired sign-flip permutation test (Fisher, The Design of Experiments, 1935, section 21).

    differences: (n,), for which p is a float, or (n, k), for which p is (k,), one per column.

    Under the null hypothesis the sign of each difference is a fair coin, so p is the share of the 2^n sign patterns
    whose |sum| is at least the observed one. Sums that differ by less than 1e-10 times the sum of absolute values count
    as equal, so that rounding decides nothing. The test is exact up to 32 pairs: all patterns are enumerated up to 14,
    and sums of two halves are combined above. For more pairs 99,999 random patterns of a fixed seed are drawn, with
    p = (b + 1) / (m + 1). No pairs, or only zeros, give 1. ValueError for nan or infinity.

    >>> sign_flip([1.0, 2.0, 0.5, 1.5])
    0.125
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
    """The share of the sign patterns of differences (n,) with |sum| >= least, in 2^(n/2) steps instead of 2^n.

    The sums of one half of the differences are sorted. For every sum of the other half, a binary search counts those
    that reach `least` with it.

    >>> meet_in_the_middle(np.array([1.0, 2.0, 0.5, 1.5]), least=5.0)
    0.125
    """
    half = len(differences) // 2
    left, right = _sums(differences[:half]), np.sort(_sums(differences[half:]))
    if least <= 0:
        return 1.0
    # Every pattern has one of opposite sign, so the upper tail is half of the answer.
    above = len(right) - np.searchsorted(right, least - left)
    return 2 * float(above.sum()) / (len(left) * len(right))


def _sums(differences: Array) -> Array:
    sums = np.zeros(1)
    for d in differences:
        sums = np.concatenate([sums - abs(d), sums + abs(d)])
    return sums


@lru_cache
def _patterns(n: int) -> Array:
    """Half of the sign patterns, (2^(n-1), n): the first sign is fixed, as flipping all signs does not change |sum|."""
    return np.array([(1.0,) * min(n, 1) + rest for rest in product((1.0, -1.0), repeat=max(n - 1, 0))])


def _shares(columns: Array, least: Array, patterns: np.ndarray) -> Array:
    """For each column (n, k), the share (k,) of patterns (m, n) with |sum| >= least (k,)."""
    hits = np.zeros(columns.shape[1])
    for start in range(0, len(patterns), CHUNK):
        hits += (np.abs(patterns[start : start + CHUNK] @ columns) >= least).sum(0)
    return hits / len(patterns)
