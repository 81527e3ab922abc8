"""Confidence intervals, or the reason in words why there is none."""

from dataclasses import dataclass
from math import isfinite, nan, sqrt

import numpy as np
import scipy  # its parts are imported where they are first used: each takes part of a second
from numpy.typing import ArrayLike, NDArray

from mcr_bench.bench.words import number_of

Array = NDArray[np.float64]
CORRECTED = "corrected resampled t"
ROUNDING = 1e-10  # sums of float64 closer than this, relative to their terms, count as equal


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval.

    low: its lower end, in the unit of the data; nan where there is no interval.
    high: its upper end; nan where there is no interval.
    level: its coverage, such as 0.95.
    method: the name of the method that gave it.
    refused: why there is no interval, in words; empty where there is one.
    """

    low: float
    high: float
    level: float
    method: str
    refused: str = ""

    @classmethod
    def refuse(cls, level: float, method: str, reason: str) -> "Interval":
        """No interval, with the reason."""
        return cls(nan, nan, level, method, reason)

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def margin(self) -> float:
        """Half of the interval's width; nan where there is no interval."""
        return (self.high - self.low) / 2


def finite(values: ArrayLike, what: str, dimensions: int = 1) -> Array:
    """`values` as a float64 array; ValueError if it has another number of dimensions, or holds nan or infinity."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != dimensions:
        raise ValueError(f"{what} must have {number_of(dimensions, 'dimension')}, not shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{what} must be finite")
    return array


def check_level(level: float) -> None:
    """ValueError for a level that is not between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")


def constant(values: Array, scale: float) -> bool:
    """Whether values (n,) differ by rounding at most, so that their spread cannot be estimated.

    scale: the size of the numbers that the values were computed from.
    """
    return bool(np.ptp(values) <= ROUNDING * scale)


def around(center: float, error: float, df: float, level: float, method: str) -> Interval:
    """The interval center -+ q error, where q is the (1 + level) / 2 quantile of Student's t with `df` degrees.

    >>> interval = around(2.0, 1.0, df=9, level=0.95, method="t")
    >>> round(interval.low, 3), round(interval.high, 3)
    (-0.262, 4.262)
    """
    half = float(scipy.special.stdtrit(df, (1 + level) / 2)) * error
    if not isfinite(half):
        return Interval.refuse(level, method, "the standard error is not finite")
    return Interval(center - half, center + half, level, method)


def widening(n: int, overlap: float | None) -> float:
    """The factor sqrt(1 + n overlap) by which the standard error of a mean of n runs exceeds sd / sqrt(n).

    overlap: n_test / n_train of one fold, given where the training parts of the folds share data. The runs are then not
    independent, and variance / n becomes variance (1 / n + overlap) (Nadeau and Bengio, Machine Learning 52, 2003).

    >>> widening(10, None), widening(4, 0.75)
    (1.0, 2.0)
    """
    if overlap is not None and overlap <= 0:
        raise ValueError(f"overlap is n_test / n_train and positive, not {overlap}")
    return sqrt(1 + n * (overlap or 0.0))


def mean_interval(values: ArrayLike, level: float = 0.95, overlap: float | None = None) -> Interval:
    """Student's t interval of the mean of values (n,); there is none for n < 2 and where all values are equal.

    overlap: as in `widening`.

    >>> interval = mean_interval([80.0, 82.0, 84.0])
    >>> round(interval.low, 2), round(interval.high, 2)
    (77.03, 86.97)
    >>> mean_interval([80.0]).refused
    '1 value: no estimate of spread; at least 2 are needed'
    """
    check_level(level)
    x, method = finite(values, "values"), "t" if overlap is None else CORRECTED
    if len(x) < 2:
        return Interval.refuse(
            level, method, f"{number_of(len(x), 'value')}: no estimate of spread; at least 2 are needed"
        )
    if constant(x, float(np.abs(x).max())):
        return Interval.refuse(level, method, "all values are equal: they carry no estimate of spread")
    error = float(x.std(ddof=1)) / sqrt(len(x)) * widening(len(x), overlap)
    return around(float(x.mean()), error, len(x) - 1, level, method)
