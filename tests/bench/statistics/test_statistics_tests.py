"""The tests themselves: equal to scipy and statsmodels on the same arrays, and exact where they say so."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests

from mcr_bench.bench.statistics import sign_flip as module
from mcr_bench.bench.statistics.families import holm
from mcr_bench.bench.statistics.paired import compare_paired, sign_flip, superiority, without_rounding
from mcr_bench.bench.statistics.samples import mcnemar

DRAW = np.random.default_rng(0)


def scipy_p(d: np.ndarray) -> float:
    def total(x: np.ndarray, axis: int) -> np.ndarray:
        return np.abs(np.sum(x, axis=axis))

    # Both signs of |sum| are in its upper tail.
    options = {"permutation_type": "samples", "n_resamples": np.inf, "vectorized": True, "alternative": "greater"}
    return float(stats.permutation_test((d,), total, **options).pvalue)


@pytest.mark.parametrize("n", [2, 3, 5, 8, 10, 13])
@pytest.mark.parametrize("digits", [1, 2, 12])
def test_sign_flip_equals_scipy(n: int, digits: int) -> None:
    d = np.round(DRAW.normal(0.4, 1, n), digits)
    assert sign_flip(d) == pytest.approx(scipy_p(d), abs=1e-12)


@pytest.mark.parametrize("n", [2, 5, 11, 14])
@pytest.mark.parametrize("digits", [1, 12])
def test_meeting_in_the_middle_equals_enumeration(n: int, digits: int) -> None:
    d = np.round(DRAW.normal(0.4, 1, (n, 5)), digits)
    least = np.abs(d.sum(0)) - 1e-10 * np.abs(d).sum(0)
    middle = [module.meet_in_the_middle(c, t) for c, t in zip(d.T, least, strict=True)]
    np.testing.assert_allclose(middle, sign_flip(d), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [20, 32])
def test_equal_differences_give_the_smallest_p(n: int) -> None:
    assert sign_flip(np.full(n, 0.1)) == 2 / 2**n


@pytest.mark.parametrize("n", [3, 14, 15, 32, 33])
def test_the_method_changes_with_n_and_p_does_not(n: int) -> None:
    """Unit differences, k of them positive: the sign test, whose p is binomial."""
    positive = n // 2 + 2
    d = np.where(np.arange(n) < positive, 1.0, -1.0)
    assert sign_flip(d) == pytest.approx(stats.binomtest(positive, n).pvalue, abs=1e-9 if n <= module.EXACT else 0.006)


def test_random_patterns_repeat_and_never_give_zero() -> None:
    d = np.full(60, 1.0)
    assert sign_flip(d) == sign_flip(d) == 1 / (module.DRAWS + 1)
    close = DRAW.normal(0.25, 1, 60)
    assert sign_flip(close) == pytest.approx(stats.ttest_1samp(close, 0).pvalue, abs=0.02)


def test_sign_flip_by_hand() -> None:
    # Of the 8 patterns of 1, 2, 3 the sums +-6 (twice) and +-4 (twice) are at least as large as 4.
    assert sign_flip([-1, 2, 3]) == 4 / 8
    assert sign_flip([1, 2, 3]) == 2 / 8
    assert sign_flip([1, 2, 0]) == 4 / 8
    assert sign_flip([0, 0, 0]) == 1
    assert sign_flip([]) == 1


def test_rounding_does_not_decide_ties() -> None:
    """.1 + .2 - .3 is not zero in floating point, and the p of tenths must be that of units."""
    for n in (6, 18):
        units = DRAW.integers(-3, 4, (n, 40)).astype(float)
        np.testing.assert_array_equal(sign_flip(units), sign_flip(units * 0.1))


@pytest.mark.parametrize("n", [7, 20, 40])
def test_sign_flip_is_two_sided_and_knows_neither_order_nor_unit(n: int) -> None:
    d = DRAW.normal(0.3, 1, n)
    assert sign_flip(d) == sign_flip(-d) == pytest.approx(sign_flip(7 * d))
    if n <= module.EXACT:
        assert sign_flip(d) == pytest.approx(sign_flip(d[::-1]))


@pytest.mark.parametrize("n", [4, 16, 35])
def test_columns_are_tests_of_their_own(n: int) -> None:
    d = DRAW.normal(0.3, 1, (n, 3))
    np.testing.assert_array_equal(sign_flip(d), [sign_flip(column) for column in d.T])
    assert np.shape(sign_flip(d)) == (3,)


@pytest.mark.parametrize("bad", [[1.0, np.nan], [np.inf, 0], np.zeros((2, 2, 2))])
def test_sign_flip_rejects_what_has_no_sum(bad: object) -> None:
    with pytest.raises(ValueError, match="finite and of shape"):
        sign_flip(bad)


@pytest.mark.parametrize("n", [2, 5, 12, 40])
def test_paired_t_is_scipys(n: int) -> None:
    a, b = DRAW.normal(60, 3, (2, n))
    ours, scipys = compare_paired(a, b, level=0.9), stats.ttest_rel(a, b)
    low, high = scipys.confidence_interval(0.9)
    assert ours.t == pytest.approx(scipys.pvalue, rel=1e-9)
    assert (ours.interval.low, ours.interval.high) == pytest.approx((low, high), rel=1e-9)
    assert ours.difference == pytest.approx(a.mean() - b.mean())
    assert ours.sign_flip == sign_flip(a - b)
    assert ours.interval.level == 0.9
    assert not ours.resampled


@pytest.mark.parametrize(("n", "digits"), [(4, 0), (7, 0), (9, 1), (10, 6), (20, 6)])
def test_wilcoxon_is_scipys_with_pratts_zeros(n: int, digits: int) -> None:
    d = np.round(DRAW.normal(1, 2, n), digits)
    expected = stats.wilcoxon(d, zero_method="pratt").pvalue
    assert compare_paired(d, np.zeros(n)).wilcoxon == pytest.approx(expected, abs=1e-9)


def test_wilcoxon_ties_what_differs_by_rounding() -> None:
    b = np.array([0.1, 0.2, 0.3, 0.6, 0.7])
    a = b + np.array([0.1, 0.1, 0.1, -0.1, 0.1])
    assert compare_paired(a, b).wilcoxon == compare_paired([1, 1, 1, -1, 1], np.zeros(5)).wilcoxon == 12 / 32


def test_the_corrected_t_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, variance 1; overlap 1/4 makes the squared error 1/3 + 1/4 = 7/12.
    result = compare_paired([1, 2, 3], [0, 0, 0], overlap=0.25)
    error, quantile = np.sqrt(7 / 12), stats.t.ppf(0.975, 2)
    assert (result.interval.low, result.interval.high) == pytest.approx((2 - quantile * error, 2 + quantile * error))
    assert result.t == pytest.approx(2 * stats.t.sf(2 / error, 2))
    assert result.resampled
    assert result.interval.method == "corrected resampled t"
    assert result.interval.margin > compare_paired([1, 2, 3], [0, 0, 0]).interval.margin


def test_one_pair_gets_a_reason_and_no_interval() -> None:
    result = compare_paired([61.0], [60.0])
    assert "1 pair" in result.interval.refused
    assert np.isnan([result.interval.low, result.interval.high, result.t]).all()
    assert (result.n, result.sign_flip, result.difference) == (1, 1.0, 1.0)


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_equal_differences_carry_no_spread(shift: float) -> None:
    b = np.array([0.1, 0.2, 0.3, 0.7])
    result = compare_paired(b + shift, b)
    assert "same in every pair" in result.interval.refused
    assert np.isnan(result.t)
    assert result.sign_flip == result.wilcoxon == (0.125 if shift else 1.0)


@pytest.mark.parametrize(
    ("a", "b", "overlap"), [([1, 2], [1], None), ([], [], None), ([1, np.nan], [1, 2], None), ([1, 2], [1, 3], 0.0)]
)
def test_compare_rejects_bad_pairs(a: list[float], b: list[float], overlap: float | None) -> None:
    with pytest.raises(ValueError, match=r"a and b|finite|overlap"):
        compare_paired(a, b, overlap=overlap)


def test_superiority_counts_pairs_and_half_of_the_ties() -> None:
    assert superiority([3, 2, 1, 5], [1, 2, 3, 4]) == 2.5 / 4
    assert superiority([1, 2], [1, 2]) == 0.5
    assert superiority([1, 5], [0, 4]) == 1.0  # paired: 1 against 4 is no pair


def test_holm_is_statsmodels_and_by_hand() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    p = DRAW.random(9) ** 3
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])


def test_holm_leaves_out_what_could_not_be_compared() -> None:
    np.testing.assert_allclose(holm([0.02, np.nan, 0.01]), [0.02, np.nan, 0.02])
    assert np.isnan(holm([np.nan])).all()
    assert holm([]).shape == (0,)
    with pytest.raises(ValueError, match="probabilities"):
        holm([0.5, 1.5])


def test_mcnemar_is_statsmodels_and_binomial() -> None:
    a, b = DRAW.random((2, 200)) < [[0.7], [0.6]]
    table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    assert mcnemar(a, b) == pytest.approx(reference_mcnemar(table, exact=True).pvalue)
    assert mcnemar([1, 1, 1, 1, 0], [0, 0, 0, 1, 0]) == pytest.approx(2 * 0.5**3)
    assert mcnemar([1, 0], [1, 0]) == 1.0


@pytest.mark.parametrize(("a", "b"), [([1, 0], [1]), ([1, 2], [1, 0])])
def test_mcnemar_rejects_what_is_no_correctness(a: list[int], b: list[int]) -> None:
    with pytest.raises(ValueError, match="0 or 1"):
        mcnemar(a, b)


def test_rounding_with_one_sign_in_all_pairs_is_no_evidence() -> None:
    values = np.linspace(0.5, 0.9, 10)
    found = compare_paired(values, np.nextafter(values, 0))
    assert (found.difference, found.sign_flip, found.wilcoxon) == (0, 1, 1)


def test_rounding_is_no_superiority() -> None:
    a = np.array([0.1 + 0.2, 0.7, 0.1 + 0.2])
    b = np.array([0.3, 0.7, 0.3])
    found = compare_paired(a, b)
    assert (found.superiority, found.sign_flip, found.difference) == (0.5, 1.0, 0.0)
    two = without_rounding(np.stack([a, 1e6 * a], 1), np.stack([b, 0 * b], 1))
    assert two[:, 0].tolist() == [0, 0, 0]
    assert two[:, 1].tolist() == (1e6 * a).tolist()
