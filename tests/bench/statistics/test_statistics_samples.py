"""Intervals over groups, and over seeds and groups: by hand, by their symmetries, and refused where they must be."""

from time import perf_counter

import numpy as np
import pytest
from scipy import stats

from mcr_bench.bench.statistics.samples import group_interval, seeds_groups_interval

DRAW = np.random.default_rng(0)
GROUPS = np.repeat(np.arange(12), 5)
DIFFERENCES = DRAW.integers(-1, 2, 60) + DRAW.normal(0.3, 0.3, 12)[GROUPS]


def test_the_group_interval_is_a_bootstrap_t_of_the_mean() -> None:
    """Equal sizes make it the bootstrap-t of the group means: here spelled out, one resample after the other."""
    means = np.array([DIFFERENCES[g == GROUPS].mean() for g in range(12)])
    error = means.std(ddof=1) / np.sqrt(12)
    drawn = np.random.default_rng(7).choice(means, (20_000, 12))
    t = (drawn.mean(1) - means.mean()) / (drawn.std(1, ddof=1) / np.sqrt(12))
    low, high = means.mean() - np.quantile(t, [0.975, 0.025]) * error
    result = group_interval(DIFFERENCES, GROUPS)
    assert (result.low, result.high) == pytest.approx((low, high), abs=0.12 * (high - low))
    assert DIFFERENCES.mean() in result
    assert result.method == "bootstrap-t over groups"


def test_very_many_groups_get_the_t_interval_without_resampling() -> None:
    d = DRAW.integers(-1, 2, 24_000).astype(float)
    start = perf_counter()
    result = group_interval(d, np.array([f"sample {i}" for i in range(24_000)]))
    assert perf_counter() - start < 2
    expected = stats.ttest_1samp(d, 0).confidence_interval()
    assert (result.low, result.high) == pytest.approx(tuple(expected))
    assert result.method == "cluster-robust t over groups"
    few = group_interval(np.r_[np.ones(9), np.zeros(2_000)], np.arange(2_009))
    assert "too few groups show any difference" in few.refused


def test_large_groups_weigh_more() -> None:
    """The target is the mean over samples: the interval surrounds it, not the mean of the group means."""
    sizes = np.r_[np.full(20, 2), np.full(20, 40)]
    groups = np.repeat(np.arange(40), sizes)
    d = np.where(groups < 20, 1.0, 0.0) + DRAW.normal(0, 0.1, len(groups))
    result = group_interval(d, groups)
    assert d.mean() in result
    assert 0.5 not in result  # what the mean of the group means would be


@pytest.mark.parametrize("interval", [lambda d, g: group_interval(d[0], g), seeds_groups_interval])
def test_names_order_and_unit_of_groups_do_not_matter(interval: object) -> None:
    d = DIFFERENCES + DRAW.normal(0, 0.1, (4, 60))
    result = interval(d, GROUPS)
    order = DRAW.permutation(60)
    named = np.array([f"actor {g:02d}" for g in GROUPS])
    same = interval(d[:, order], named[order])
    scaled = interval(100 * d, GROUPS)
    assert (same.low, same.high) == pytest.approx((result.low, result.high))
    assert (scaled.low, scaled.high) == pytest.approx((100 * result.low, 100 * result.high))
    assert interval(d, GROUPS) == result
    untested = np.c_[d, np.full((4, 3), np.nan)]
    assert interval(untested, np.r_[GROUPS, 99, 99, 1]) == result


@pytest.mark.parametrize("groups", [4, 9])
def test_few_groups_are_refused_with_the_reason(groups: int) -> None:
    label = np.arange(60) % groups
    for result in (group_interval(DIFFERENCES, label), seeds_groups_interval(np.stack([DIFFERENCES] * 5), label)):
        assert f"{groups} groups: below 10" in result.refused
        assert np.isnan([result.low, result.high]).all()


def test_groups_that_do_not_differ_are_refused() -> None:
    one = np.where(GROUPS == 3, 1.0, 0.0)
    for d in (np.zeros(60), np.ones(60), one):
        assert "too few groups show any difference" in group_interval(d, GROUPS).refused
    assert "same in every seed and group" in seeds_groups_interval(np.ones((5, 60)), GROUPS).refused


def test_one_seed_does_not_speak_for_seeds() -> None:
    assert "1 seed" in seeds_groups_interval(DIFFERENCES[None], GROUPS).refused


def test_the_crossed_interval_by_hand() -> None:
    """Additive effects of 3 seeds and 10 groups: variance of the mean = var(seeds) / 3 + var(groups) / 10."""
    seeds, groups = np.array([-1.0, 0.0, 1.0]), np.arange(10.0)
    d = (seeds[:, None] + groups).repeat(2, axis=1)
    result = seeds_groups_interval(d, np.arange(10).repeat(2))
    over_seeds, over_groups = 1 / 3, (110 / 12) / 10
    df = (over_seeds + over_groups) ** 2 / (over_seeds**2 / 2 + over_groups**2 / 9)
    half = stats.t.ppf(0.975, df) * np.sqrt(over_seeds + over_groups)
    assert (result.low, result.high) == pytest.approx((4.5 - half, 4.5 + half))


def test_folds_that_test_different_samples() -> None:
    d = DIFFERENCES + DRAW.normal(0, 0.1, (4, 60))
    d[np.arange(60) % 4 != np.arange(4)[:, None]] = np.nan
    result = seeds_groups_interval(d, GROUPS)
    assert np.nanmean(d) in result
    assert result.margin > seeds_groups_interval(DIFFERENCES + DRAW.normal(0, 0.1, (4, 60)), GROUPS).margin


@pytest.mark.parametrize(
    ("d", "groups"),
    [(np.zeros(3), [1, 2]), (np.full(2, np.nan), [1, 2]), ([np.inf, 1], [1, 2]), (np.zeros((2, 2)), [1, 2])],
)
def test_bad_samples(d: object, groups: list[int]) -> None:
    with pytest.raises(ValueError, match="differences"):
        group_interval(d, groups)
