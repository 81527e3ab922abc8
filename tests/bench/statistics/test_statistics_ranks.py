"""Ranks across datasets: by hand, against scipy and the published q of Nemenyi, and honest about few datasets."""

from statistics import fmean

import numpy as np
import pytest
from scipy import stats

from mcr_bench.bench.statistics.ranks import critical_difference, mean_ranks, rank

DRAW = np.random.default_rng(0)


def scores(values: object) -> dict[str, dict[str, float]]:
    rows = np.asarray(values, dtype=float).tolist()
    return {f"d{i}": {f"m{j}": value for j, value in enumerate(row)} for i, row in enumerate(rows)}


def test_critical_differences_of_the_literature() -> None:
    assert critical_difference(8, 5) == pytest.approx(4.70, abs=0.005)
    assert critical_difference(8, 6) == pytest.approx(4.29, abs=0.005)
    # Demsar 2006, table 5: q(.05) of 4 classifiers is 2.569; his example has 14 data sets and CD 1.25.
    assert critical_difference(4, 14) == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=1e-3)
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


def test_mean_ranks_by_hand_with_a_tie() -> None:
    result = rank(scores([[90, 80, 80], [70, 60, 50]]))
    assert result.mean_ranks == {"m0": 1.0, "m1": 2.25, "m2": 2.75}
    assert list(result.mean_ranks) == ["m0", "m1", "m2"]
    assert rank(scores([[90, 80, 80], [70, 60, 50]]), higher_is_better=False).mean_ranks["m0"] == 3.0


def test_few_datasets_give_ranks_and_a_reason() -> None:
    result = rank(scores(DRAW.random((4, 5))))
    assert result.friedman is None
    assert result.critical_difference is None
    assert result.cliques == []
    assert "4 datasets: at least 5" in result.reason
    assert sum(result.mean_ranks.values()) == pytest.approx(15)


def test_an_alpha_that_the_datasets_cannot_reach() -> None:
    many = rank(scores(DRAW.random((5, 8))), alpha=2e-5)  # Friedman could still reach 1.1e-5
    assert many.critical_difference is None
    assert "exceeds the largest possible" in many.reason
    few = rank(scores(DRAW.random((5, 3))), alpha=1e-3)
    assert "smallest p that Friedman's test can reach here is 0.00674" in few.reason  # chi2 of 10, 2 df: exp(-5)
    assert "2 methods" in rank(scores(DRAW.random((9, 2)))).reason


def test_friedman_is_scipys_and_cliques_are_those_within_the_difference() -> None:
    values = np.array([4.0, 3.0, 1.5, 0.0]) + 0.5 * DRAW.random((12, 4))  # always in this order
    result = rank(scores(values))
    assert result.friedman == stats.friedmanchisquare(*values.T).pvalue
    assert result.critical_difference == pytest.approx(2.569 * np.sqrt(20 / 72), abs=1e-3)  # 1.354: neighbours only
    assert result.cliques == [("m0", "m1"), ("m1", "m2"), ("m2", "m3")]
    assert result.reason == ""
    apart = rank(scores(np.tile(values, (5, 1))))
    assert apart.cliques == []


def test_a_clique_within_another_is_not_told() -> None:
    values = np.tile([9.0, 3.0, 2.0, 1.0], (40, 1))
    values[:, 1:] = DRAW.permuted(values[:, 1:], axis=1)
    assert [set(clique) for clique in rank(scores(values)).cliques] == [{"m1", "m2", "m3"}]


def test_nothing_rejected_separates_nothing() -> None:
    result = rank(scores(DRAW.permuted(np.tile(np.arange(4.0), (6, 1)), axis=1)))
    assert result.friedman is not None
    assert result.friedman > 0.05
    assert [set(clique) for clique in result.cliques] == [{"m0", "m1", "m2", "m3"}]
    assert "does not reject" in result.reason
    assert rank(scores(np.ones((6, 3)))).friedman == 1.0


def test_datasets_with_holes_are_left_out_by_name() -> None:
    values = DRAW.random((6, 3))
    values[2, 1] = np.nan
    result = rank(scores(values))
    assert result.datasets == 5
    assert "left out for missing scores: d2" in result.reason
    values[:, 1] = np.nan
    empty = rank(scores(values))
    assert empty.datasets == 0
    assert empty.mean_ranks == {}
    with pytest.raises(ValueError, match="at least one dataset and one method"):
        rank({})


def test_datasets_must_have_the_same_methods() -> None:
    with pytest.raises(ValueError, match="the methods a, b; y has others"):
        rank({"x": {"a": 1.0, "b": 2.0}, "y": {"a": 1.0}})


def test_means_that_differ_by_rounding_alone_share_their_rank() -> None:
    """.3 + 0 and .1 + .2 have the same mean; in floating point they have not."""
    means = {"x": fmean([0.1, 0.2]), "ensemble": fmean([0.3, 0.0])}
    assert means["x"] != means["ensemble"]
    assert rank({f"d{n}": means for n in range(6)}).mean_ranks == {"x": 1.5, "ensemble": 1.5}
    assert mean_ranks(np.array([1e9, 1e9 + 1, -np.inf, np.inf, np.inf])).tolist() == [2, 3, 1, 4.5, 4.5]
