"""A published value beside ours: reproduced, lower, higher or inconclusive."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

from mcr_bench.bench.statistics.intervals import (
    Array,
    Interval,
    around,
    check_level,
    constant,
    finite,
    mean_interval,
    widening,
)

__all__ = ["Verdict", "Word", "mean_interval", "verdict"]

Word = Literal["reproduced", "lower", "higher", "inconclusive"]
METHOD = "Welch t of ours - published"


@dataclass(frozen=True)
class Verdict:
    """difference: ours - published in points, with the interval that the word was read from."""

    word: Word
    difference: float
    interval: Interval


def verdict(
    ours: Sequence[float],
    published: float,
    published_sd: float | None = None,
    published_n: int | None = None,
    margin: float = 2.0,
    level: float = 0.95,
    overlap: float | None = None,
) -> Verdict:
    """Judge ours - published, all in points where higher is better.

    reproduced: interval within -+ margin; else lower or higher: interval excludes 0; else inconclusive.
    Standard error sqrt(s^2 / n + published_sd^2 / published_n), degrees of freedom by Welch and Satterthwaite.
    published_sd is a sample standard deviation (ddof 1). Without published_n, or where it is 1, published_sd counts
    whole, as of one run; without published_sd the published value counts as exact. One value of ours, or no spread on
    either side, is inconclusive without an interval. overlap: n_test / n_train where our runs cover folds that share
    training data; our s^2 / n is then s^2 (1 / n + overlap) (`widening`). ValueError on no or non-finite values.
    """
    check_level(level)
    if margin <= 0 or (published_sd or 0.0) < 0 or (published_n is not None and published_n < 1):
        raise ValueError("margin and published_n must be positive, and published_sd not negative")
    x = finite(ours, "ours")
    if not len(x):
        raise ValueError("ours holds no value")
    difference = float(x.mean()) - published
    interval = _interval(x, difference, published_sd or 0.0, published_n or 1, level, overlap)
    return Verdict(_word(interval, margin), difference, interval)


def _interval(
    x: Array, difference: float, published_sd: float, published_n: int, level: float, overlap: float | None
) -> Interval:
    if len(x) < 2:
        return Interval.refuse(level, METHOD, "1 value of ours carries no estimate of spread; at least 2 are needed")
    own = 0.0 if constant(x, float(abs(x).max())) else float(x.var(ddof=1)) / len(x) * widening(len(x), overlap) ** 2
    other = published_sd**2 / published_n
    if own + other == 0:
        return Interval.refuse(level, METHOD, "neither our values nor the published one show any spread")
    df = float(len(x) - 1)
    if published_n > 1 and other > 0:
        df = (own + other) ** 2 / (own**2 / (len(x) - 1) + other**2 / (published_n - 1))
    return around(difference, sqrt(own + other), df, level, METHOD)


def _word(interval: Interval, margin: float) -> Word:
    if interval.refused:
        return "inconclusive"
    if -margin <= interval.low and interval.high <= margin:
        return "reproduced"
    if interval.high < 0:
        return "lower"
    return "higher" if interval.low > 0 else "inconclusive"
