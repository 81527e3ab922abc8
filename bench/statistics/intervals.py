"""Confidence intervals, and the reason in words where one is refused."""

from dataclasses import dataclass
from math import isfinite, nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]
CORRECTED = "corrected resampled t"
ROUNDING = 1e-10  # sums of float64 closer than this, relative to their terms, count as equal


@dataclass(frozen=True)
class Interval:
    """Two-sided confidence interval in the units of its data; low and high are nan where `refused` says why."""

    low: float
    high: float
    level: float
    method: str
    refused: str = ""

    @classmethod
    def refuse(cls, level: float, method: str, reason: str) -> "Interval":
        return cls(nan, nan, level, method, reason)

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def margin(self) -> float:
        """Half the width; nan where refused."""
        return (self.high - self.low) / 2


def finite(values: ArrayLike, what: str, dimensions: int = 1) -> Array:
    """As float64 of so many dimensions; ValueError on another shape, nan or infinity."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != dimensions:
        raise ValueError(f"{what} must have {dimensions} dimension(s), not shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{what} must be finite")
    return array


def check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")


def constant(values: Array, scale: float) -> bool:
    """Whether values (n,) differ by no more than rounding at this scale: then they carry no estimate of spread."""
    return bool(np.ptp(values) <= ROUNDING * scale)


def around(center: float, error: float, df: float, level: float, method: str) -> Interval:
    """center -+ t(df) quantile times standard error."""
    half = float(stats.t.ppf((1 + level) / 2, df)) * error
    if not isfinite(half):
        return Interval.refuse(level, method, "the standard error is not finite")
    return Interval(center - half, center + half, level, method)


def widening(n: int, overlap: float | None) -> float:
    """How much wider than sd / sqrt(n) the standard error of n resampled values is: sqrt(1 + n overlap).

    overlap: n_test / n_train of one fold, given where the folds' training parts share data. The runs are then not
    independent, and variance / n becomes variance * (1 / n + overlap) (Nadeau and Bengio, Machine Learning 52, 2003).
    """
    if overlap is not None and overlap <= 0:
        raise ValueError(f"overlap is n_test / n_train and positive, not {overlap}")
    return sqrt(1 + n * (overlap or 0.0))


def mean_interval(values: ArrayLike, level: float = 0.95, overlap: float | None = None) -> Interval:
    """Student's t interval of the mean of values (n,); refused for n < 2 and where all values are equal.

    overlap: as in `widening`.
    """
    check_level(level)
    x, method = finite(values, "values"), "t" if overlap is None else CORRECTED
    if len(x) < 2:
        return Interval.refuse(level, method, f"{len(x)} value(s) carry no estimate of spread; at least 2 are needed")
    if constant(x, float(np.abs(x).max())):
        return Interval.refuse(level, method, "all values are equal: they carry no estimate of spread")
    error = float(x.std(ddof=1)) / sqrt(len(x)) * widening(len(x), overlap)
    return around(float(x.mean()), error, len(x) - 1, level, method)
