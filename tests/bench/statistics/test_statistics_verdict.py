"""Verdicts on published values: each word by hand, Welch against scipy, and nothing claimed without spread."""

import numpy as np
import pytest
from scipy import stats

from mcr_bench.bench.statistics.intervals import Interval
from mcr_bench.bench.statistics.verdict import mean_interval, verdict

DRAW = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("published", "word"),
    # Ours are 60 +- t(3) .975 * sd / 2 = 60 +- .91.
    [(60.0, "reproduced"), (61.0, "reproduced"), (62.0, "lower"), (58.0, "higher"), (61.5, "lower"), (58.5, "higher")],
)
def test_words(published: float, word: str) -> None:
    ours = [59.5, 59.5, 60.5, 60.5]
    result = verdict(ours, published)
    assert result.word == word
    assert result.difference == pytest.approx(60 - published)
    assert result.interval.margin == pytest.approx(stats.t.ppf(0.975, 3) * np.sqrt(1 / 3) / 2)


def test_the_margin_decides_before_zero_does() -> None:
    """A difference of half a point that excludes zero is reproduced within two points, and higher within a quarter."""
    ours = [60.4, 60.5, 60.6, 60.5]
    assert verdict(ours, 60.0).word == "reproduced"
    assert verdict(ours, 60.0, margin=0.25).word == "higher"


def test_wide_intervals_are_inconclusive() -> None:
    assert verdict([55.0, 60.0, 65.0], 60.0).word == "inconclusive"


@pytest.mark.parametrize("n", [2, 3, 10])
def test_both_spreads_are_welchs_t(n: int) -> None:
    ours, theirs = DRAW.normal(60, 2, n), DRAW.normal(61, 1, 4)
    result = verdict(list(ours), float(theirs.mean()), float(theirs.std(ddof=1)), 4)
    expected = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    assert (result.interval.low, result.interval.high) == pytest.approx((expected.low, expected.high))


def test_a_published_spread_without_n_counts_whole() -> None:
    ours = [59.0, 60.0, 61.0]
    alone, of_four, unknown = (verdict(ours, 60.0, *rest).interval.margin for rest in ((), (1.0, 4), (1.0, None)))
    assert unknown == pytest.approx(stats.t.ppf(0.975, 2) * np.sqrt(1 / 3 + 1))
    assert of_four < unknown
    assert alone == pytest.approx(stats.t.ppf(0.975, 2) * np.sqrt(1 / 3))


@pytest.mark.parametrize(
    ("overlap", "low", "high", "word"),
    # Ours are 60 with variance 1 over 3 folds, t(2) .975 = 4.302653: the squared error is 1/3, or 1/3 + 1/4 = 7/12.
    [(None, 0.015862, 4.984138, "higher"), (0.25, -0.786205, 5.786205, "inconclusive")],
)
def test_folds_that_share_training_data_widen_the_interval(
    overlap: float | None, low: float, high: float, word: str
) -> None:
    result = verdict([59.0, 60.0, 61.0], 57.5, overlap=overlap)
    assert (result.interval.low, result.interval.high) == pytest.approx((low, high), abs=1e-5)
    assert (result.word, result.difference) == (word, 2.5)


def test_overlap_widens_our_part_of_both_spreads_alone() -> None:
    """7/12 of ours and 1/4 of theirs; degrees of freedom (10/12)^2 / ((7/12)^2 / 2 + (1/4)^2 / 3) = 40/11."""
    result = verdict([59.0, 60.0, 61.0], 60.0, 1.0, 4, overlap=0.25)
    assert result.interval.margin == pytest.approx(stats.t.ppf(0.975, 40 / 11) * np.sqrt(10 / 12))


@pytest.mark.parametrize(("ours", "reason"), [([60.0], "1 value of ours"), ([60.0, 60.0], "any spread")])
def test_without_spread_nothing_is_claimed(ours: list[float], reason: str) -> None:
    result = verdict(ours, 50.0)
    assert result.word == "inconclusive"
    assert reason in result.interval.refused
    assert result.difference == 10.0


def test_published_spread_alone_is_enough() -> None:
    assert verdict([60.0, 60.0], 50.0, 1.0, 5).interval.margin == pytest.approx(stats.t.ppf(0.975, 4) / np.sqrt(5))


@pytest.mark.parametrize(
    ("ours", "rest"),
    [([], ()), ([np.nan, 1], ()), ([1.0, 2.0], (-1.0,)), ([1.0, 2.0], (1.0, 0)), ([1.0], (1.0, 2, 0.0))],
)
def test_bad_input(ours: list[float], rest: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"ours|positive"):
        verdict(ours, 60.0, *rest)


def test_the_mean_interval_is_scipys() -> None:
    x = DRAW.normal(60, 2, 7)
    result = mean_interval(x, 0.9)
    expected = stats.ttest_1samp(x, 0).confidence_interval(0.9)
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high))
    assert x.mean() in result
    assert 80.0 not in result
    assert "at least 2" in mean_interval([1.0]).refused
    assert "equal" in mean_interval([0.1, 0.1, 0.1]).refused
    assert 1.0 not in Interval.refuse(0.95, "t", "no reason")
    with pytest.raises(ValueError, match="level"):
        mean_interval(x, 95)
