"""A published value compared with ours: reproduced, lower, higher or inconclusive."""

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
    """How our runs compare with a published value.

    word: reproduced, lower, higher or inconclusive.
    difference: our mean minus the published value, in points.
    interval: the interval of the difference, from which the word follows.
    """

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
    """Judge the difference of our values (n,) to a published one, all in points where higher is better.

    The word is `reproduced` if the interval of the difference lies within -margin and +margin, otherwise `lower` or
    `higher` if it excludes 0, otherwise `inconclusive`. The standard error is sqrt(s^2 / n + published_sd^2 /
    published_n), with degrees of freedom by Welch and Satterthwaite. With one value of ours, or no spread on either
    side, there is no interval and the word is `inconclusive`. ValueError for no values, or values that are not finite.

    published_sd: the published sample standard deviation (ddof 1); without it the published value counts as exact.
    published_n: the number of published runs; without it `published_sd` counts as that of one run.
    margin: the difference, in points, within which a value is reproduced.
    overlap: n_test / n_train where our runs cover folds that share training data; s^2 / n is then
    s^2 (1 / n + overlap), see `widening`.

    >>> verdict([80.1, 80.4, 79.8, 80.3], published=80.0).word
    'reproduced'
    """
    check_level(level)
    if margin <= 0 or (published_sd or 0.0) < 0 or (published_n is not None and published_n < 1):
        raise ValueError("margin and published_n must be positive, and published_sd not negative")
    x = finite(ours, "ours")
    if not len(x):
        raise ValueError("ours is empty; at least one value is needed")
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
