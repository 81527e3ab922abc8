"""Two methods compared on the same (seed, fold) pairs: the primary test, the interval, and the secondary tests."""

from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

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
from mcr_bench.bench.statistics.sign_flip import sign_flip

__all__ = ["Interval", "Paired", "compare_paired", "sign_flip", "superiority"]


@dataclass(frozen=True)
class Paired:
    """A against b over n pairs. `sign_flip` is the primary p, before Holm; all others are secondary.

    difference: mean of a - b in the units of a; t and wilcoxon: two-sided p values, nan where undefined; superiority:
    probability that a exceeds b (see there); resampled: whether interval and t carry the Nadeau-Bengio correction.
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
    """Compare values a and b (n,) paired by (seed, fold). ValueError on unequal lengths, no pairs, nan or infinity.

    overlap: n_test / n_train where the folds' training parts share data: interval and t are then corrected (`widening`)
    Wilcoxon ranks zeros and then drops them (scipy's `zero_method="pratt"`): two methods with equal accuracy on a seed
    are evidence of no difference, which the default `wilcox` would throw away.
    """
    check_level(level)
    x, y = finite(a, "a"), finite(b, "b")
    if len(x) != len(y) or not len(x):
        raise ValueError(f"a and b must be as long as each other and not empty, not {len(x)} and {len(y)}")
    d = x - y
    scale = float(max(np.abs(x).max(), np.abs(y).max()))
    interval, t = _t(d, scale, level, overlap)
    primary, ranked = float(sign_flip(d)), _wilcoxon(d, scale)
    difference = 0.0 if abs(d.mean()) <= ROUNDING * scale else float(d.mean())
    return Paired(len(d), difference, interval, primary, t, ranked, superiority(x, y), overlap is not None)


def superiority(a: ArrayLike, b: ArrayLike) -> float:
    """Share of the pairs in which a exceeds b, a tie counting half; 0.5 means neither. What is better is the caller's.

    Over pairs, not over all n x n combinations: a seed of a is comparable with the same seed and fold of b, which share
    initial weights, batches and test samples (Bouthillier et al., Accounting for Variance in ML Benchmarks, 2021).
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
    result = stats.ttest_1samp(d, 0.0)
    error = float(d.std(ddof=1)) / sqrt(len(d)) * wider
    p = 2 * float(stats.t.sf(abs(result.statistic) / wider, result.df))
    return around(float(d.mean()), error, len(d) - 1, level, method), p


def _wilcoxon(d: Array, scale: float) -> float:
    """Two-sided p of the signed ranks' own sign-flip test, which is Wilcoxon's with ties.

    Equals scipy's, which enumerates in seconds where accuracies tie, and is exact for more pairs. Differences within
    rounding at this scale tie.
    """
    if scale > 0:
        d = np.round(d / scale, 10)
    return float(sign_flip(np.sign(d) * stats.rankdata(np.abs(d))))
