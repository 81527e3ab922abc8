"""Statistics of stored predictions, per sample: McNemar's test, and intervals over groups or over seeds and groups."""

from math import sqrt
from typing import Any

import numpy as np
import scipy  # its parts are imported where they are first used: each takes part of a second
from numpy.typing import ArrayLike, NDArray

from mcr_bench.bench.statistics.intervals import ROUNDING, Array, Interval, around, check_level, finite
from mcr_bench.bench.words import number_of

# Measured at 4 groups by tests/support/records/coverage_simulation.py: the crossed t covers .92 where groups matter.
# The bootstrap-t covers .94, but with half-widths of 38 to 71 points (median), and in 6 to 12 % of the cases its
# resamples have no spread.
FEWEST_GROUPS = 10
MOST_RESAMPLED = 1_000  # groups; with more, the bootstrap-t takes seconds and gigabytes and equals the t interval
RESAMPLES = 2_000
BOOTSTRAP, ROBUST = "bootstrap-t over groups", "cluster-robust t over groups"
CROSSED = "crossed t over seeds x groups"


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike) -> float:
    """The exact two-sided p of McNemar's test of two runs on the same N samples, which are taken as independent.

    correct_a, correct_b: (N,), 1 where a run is right and 0 where it is wrong. ValueError for unequal lengths or other
    values.

    >>> mcnemar([1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 1, 0])
    0.125
    """
    a, b = finite(correct_a, "correct_a"), finite(correct_b, "correct_b")
    if a.shape != b.shape or not (is_binary(a) and is_binary(b)):
        raise ValueError("correct_a and correct_b must be 0 or 1, for the same samples")
    only_a, only_b = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    differ = only_a + only_b
    return min(1.0, 2 * float(scipy.special.bdtr(min(only_a, only_b), differ, 0.5))) if differ else 1.0


def is_binary(values: NDArray[np.floating[Any]]) -> bool:
    """Whether all of some values are 0 or 1."""
    return bool(((values == 0) | (values == 1)).all())


def group_interval(differences: ArrayLike, groups: ArrayLike, level: float = 0.95) -> Interval:
    """The interval of a mean difference per sample that generalises to other groups: actors, videos or subjects.

    differences: (N,), nan for a sample that was not tested. groups: (N,), the group of each sample.

    It is a bootstrap-t interval (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 12.5) of 2,000
    draws of whole groups. Each draw's mean is the ratio of its groups' sums to their sizes, studentised by its
    cluster-robust standard error. With more than 1,000 groups it is the t interval with that standard error. The runs
    are taken as given: the interval says nothing about other seeds. There is none for fewer than 10 groups, and where
    so few groups differ that resamples have no spread.

    >>> differences = np.tile([1.0, 0.0, -1.0, 1.0], 6)
    >>> group_interval(differences, np.arange(24) // 2).method
    'bootstrap-t over groups'
    >>> group_interval(differences, np.arange(24) // 12).refused
    '2 groups: below 10 groups their spread is known too badly for an interval to hold'
    """
    check_level(level)
    d, label = _samples(np.atleast_2d(np.asarray(differences, dtype=np.float64)), groups)
    if len(d) != 1:
        raise ValueError("differences must have shape (N,); for shape (S, N) call seeds_groups_interval")
    sums, sizes = _cells(d, label)
    sums, sizes = sums[0], sizes[0]
    count = len(sums)
    if count < FEWEST_GROUPS:
        return Interval.refuse(level, BOOTSTRAP, _too_few(count))
    mean = sums.sum() / sizes.sum()
    rest = sums - mean * sizes
    error = _cluster_error(rest) / sizes.sum()
    reason = "too few groups show any difference: resamples of the groups have no spread"
    if count > MOST_RESAMPLED:
        if _unlike_most(sums / sizes) < FEWEST_GROUPS:
            return Interval.refuse(level, ROBUST, reason)
        return around(float(mean), error, count - 1, level, ROBUST)
    t = _bootstrap_t(rest, sizes)
    low, high = np.quantile(t, [(1 - level) / 2, (1 + level) / 2], method="higher") if error > 0 else (-np.inf, np.inf)
    if not np.isfinite([low, high]).all():
        return Interval.refuse(level, BOOTSTRAP, reason)
    return Interval(float(mean - high * error), float(mean - low * error), level, BOOTSTRAP)


def _unlike_most(means: Array) -> int:
    """The number of groups whose mean (G,) differs from the most frequent one."""
    return len(means) - int(np.unique(means, return_counts=True)[1].max())


def _bootstrap_t(rest: Array, sizes: Array) -> Array:
    """Studentised means (RESAMPLES,) of resampled groups.

    rest: (G,), each group's sum minus its size times the observed mean. sizes: (G,), the samples of each group.
    """
    count = len(rest)
    drawn = np.random.default_rng(0).integers(0, count, (RESAMPLES, count))
    offsets = np.arange(RESAMPLES)[:, None] * count
    weights = np.bincount((drawn + offsets).ravel(), minlength=RESAMPLES * count).reshape(RESAMPLES, count)
    moments = weights @ np.stack([rest, sizes, rest**2, rest * sizes, sizes**2], axis=1)
    total, size, rest2, cross, size2 = moments.T
    shift = total / size
    squares = rest2 - 2 * shift * cross + shift**2 * size2
    none = squares <= ROUNDING * (rest**2).sum()
    error = np.sqrt(np.where(none, 1.0, squares) * count / (count - 1)) / size
    return np.asarray(np.where(none, np.copysign(np.inf, shift), shift / error))


def seeds_groups_interval(differences: ArrayLike, groups: ArrayLike, level: float = 0.95) -> Interval:
    """The interval of a mean difference per sample that generalises to other seeds and other groups at once.

    differences: (S, N), one row per seed (or seed and fold), nan for samples that its fold does not test.
    groups: (N,), the group of each sample.

    Seeds and groups are crossed random effects. The variance is the sum of the cluster-robust variances over seeds and
    over groups (Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1, 2007). It counts their interaction
    twice, so the interval is rather too wide than too narrow. Degrees of freedom are Satterthwaite's. There is no
    interval for fewer than 2 seeds or 10 groups, and where nothing varies.
    """
    check_level(level)
    d, label = _samples(np.asarray(differences, dtype=np.float64), groups)
    sums, sizes = _cells(d, label)
    seeds, count = sums.shape
    if seeds < 2:
        return Interval.refuse(level, CROSSED, f"{seeds} seed carries no estimate of spread; at least 2 are needed")
    if count < FEWEST_GROUPS:
        return Interval.refuse(level, CROSSED, _too_few(count))
    total = sizes.sum()
    mean = sums.sum() / total
    rest = sums - mean * sizes
    over_seeds, over_groups = (_cluster_error(rest.sum(axis)) ** 2 / total**2 for axis in (1, 0))
    variance = over_seeds + over_groups
    if variance <= ROUNDING**2:
        return Interval.refuse(level, CROSSED, "the difference is the same in every seed and group")
    df = variance**2 / (over_seeds**2 / (seeds - 1) + over_groups**2 / (count - 1))
    return around(float(mean), sqrt(variance), df, level, CROSSED)


def _too_few(count: int) -> str:
    told = number_of(count, "group")
    return f"{told}: below {FEWEST_GROUPS} groups their spread is known too badly for an interval to hold"


def _samples(differences: Array, groups: ArrayLike) -> tuple[Array, NDArray[np.intp]]:
    """Differences (S, N) and the index (N,) of each sample's group, without the samples that no seed tested."""
    names = np.asarray(groups)
    if differences.ndim != 2 or names.shape != differences.shape[1:]:
        raise ValueError(f"differences {differences.shape} do not match groups {names.shape}")
    if np.isinf(differences).any():
        raise ValueError("differences must be finite or nan")
    tested = ~np.isnan(differences).all(0)
    if not tested.any():
        raise ValueError("differences contain no tested sample: all values are nan")
    return differences[:, tested], np.unique(names[tested], return_inverse=True)[1]


def _cells(differences: Array, label: NDArray[np.intp]) -> tuple[Array, Array]:
    """Sum (S, G) and number (S, G) of the tested samples of every seed and group."""
    count = int(label.max()) + 1
    sums = [np.bincount(label, np.nan_to_num(row), count) for row in differences]
    sizes = [np.bincount(label, ~np.isnan(row), count) for row in differences]
    return np.stack(sums), np.stack(sizes)


def _cluster_error(rest: Array) -> float:
    """The cluster-robust standard error of a total; rest: (G,), each cluster's sum minus its expectation."""
    return float(np.sqrt(len(rest) / (len(rest) - 1) * (rest**2).sum()))
