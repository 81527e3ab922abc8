"""Two methods compared on the same (seed, fold) pairs: the primary test, the interval, and the secondary tests."""

from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
import scipy  # its parts are imported where they are first used: each takes part of a second
from numpy.typing import ArrayLike

from mcr_bench.bench.statistics.intervals import (
    CORRECTED,
    ROUNDING,
    Array,
    Interval,
    around,
    check_level,
    constant,
    finite,
    widening,
)
from mcr_bench.bench.statistics.ranks import mean_ranks
from mcr_bench.bench.statistics.sign_flip import sign_flip

__all__ = ["Interval", "Paired", "compare_paired", "sign_flip", "superiority", "without_rounding"]


@dataclass(frozen=True)
class Paired:
    """The comparison of two methods, a and b, over pairs of runs.

    n: the number of pairs.
    difference: the mean of a - b, in the unit of a and b.
    interval: the confidence interval of the difference.
    sign_flip: the two-sided p of the primary test, before Holm's correction.
    t: the two-sided p of the paired t test (secondary); nan where it is not defined.
    wilcoxon: the two-sided p of Wilcoxon's signed-rank test (secondary).
    superiority: the share of pairs in which a exceeds b, see `superiority` (secondary).
    resampled: whether `interval` and `t` are corrected for folds that share training data (Nadeau and Bengio).
    """

    n: int
    difference: float
    interval: Interval
    sign_flip: float
    t: float
    wilcoxon: float
    superiority: float
    resampled: bool


def compare_paired(a: ArrayLike, b: ArrayLike, *, level: float = 0.95, overlap: float | None = None) -> Paired:
    """Compare the results a (n,) and b (n,) of two methods, paired by seed and fold.

    overlap: n_test / n_train where the training parts of the folds share data; interval and t test are then corrected
    (`widening`). Wilcoxon's test ranks differences of zero and then drops them (scipy's `zero_method="pratt"`): a seed
    on which two methods are equal is evidence of no difference, which the default `wilcox` would ignore. ValueError for
    unequal lengths, no pairs, nan or infinity.

    >>> made = compare_paired([3.0, 5.0, 4.0, 6.0], [1.0, 2.0, 2.0, 3.0])
    >>> made.n, made.difference, made.sign_flip, made.superiority
    (4, 2.5, 0.125, 1.0)
    """
    check_level(level)
    x, y = finite(a, "a"), finite(b, "b")
    if len(x) != len(y) or not len(x):
        raise ValueError(f"a and b must have the same length and not be empty; their lengths are {len(x)} and {len(y)}")
    scale = float(max(np.abs(x).max(), np.abs(y).max()))
    d = without_rounding(x, y)
    interval, t = _t(d, scale, level, overlap)
    primary, ranked = float(sign_flip(d)), _wilcoxon(d, scale)
    difference = 0.0 if abs(d.mean()) <= ROUNDING * scale else float(d.mean())
    above = superiority(d, np.zeros_like(d))
    return Paired(len(d), difference, interval, primary, t, ranked, above, overlap is not None)


def without_rounding(x: Array, y: Array) -> Array:
    """x - y for values (n,) or (n, k) of k comparisons; 0 where they differ by rounding alone.

    Rounding that has one sign in all pairs proves nothing.

    >>> without_rounding(np.array([0.1 + 0.2, 0.5]), np.array([0.3, 0.25]))
    array([0.  , 0.25])
    """
    d: Array = x - y
    scale = np.maximum(np.abs(x).max(0), np.abs(y).max(0))
    d[np.abs(d) <= ROUNDING * scale] = 0
    return d


def superiority(a: ArrayLike, b: ArrayLike) -> float:
    """The share of pairs in which a (n,) exceeds b (n,); a tie counts half, and 0.5 means that neither does.

    Whether larger is better is for the caller to say. The share is over pairs, not over all n x n combinations: a run
    is comparable with the run of the same seed and fold, which shares initial weights, batches and test samples
    (Bouthillier et al., Accounting for Variance in Machine Learning Benchmarks, MLSys 2021).

    >>> superiority([0.8, 0.9, 0.7], [0.7, 0.9, 0.8])
    0.5
    """
    x, y = finite(a, "a"), finite(b, "b")
    return float(np.mean((x > y) + 0.5 * (x == y)))


def _t(d: Array, scale: float, level: float, overlap: float | None) -> tuple[Interval, float]:
    method, wider = "paired t" if overlap is None else CORRECTED, widening(len(d), overlap)
    if len(d) < 2:
        return Interval.refuse(level, method, "1 pair carries no estimate of spread; at least 2 are needed"), nan
    if constant(d, scale):
        reason = "the difference is the same in every pair: it carries no estimate of spread"
        return Interval.refuse(level, method, reason), nan
    statistic = float(d.mean()) / sqrt(float(d.var(ddof=1)) / len(d))
    error = float(d.std(ddof=1)) / sqrt(len(d)) * wider
    p = 2 * float(scipy.special.stdtr(len(d) - 1, -abs(statistic) / wider))
    return around(float(d.mean()), error, len(d) - 1, level, method), p


def _wilcoxon(d: Array, scale: float) -> float:
    """Two-sided p of the sign-flip test of the signed ranks, which is Wilcoxon's test also where there are ties.

    It equals scipy's result, which takes seconds where accuracies tie, and is exact for more pairs. Differences that
    are equal up to rounding at this scale count as ties.
    """
    if scale > 0:
        d = np.round(d / scale, 10)
    return float(sign_flip(np.sign(d) * mean_ranks(np.abs(d))))
