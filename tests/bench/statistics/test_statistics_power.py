"""Power first: the table of smallest p, seeds needed, and detectable effects that have the power they claim."""

from math import inf

import numpy as np
import pytest
from scipy import stats

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.statistics.power import detectable, pairs_needed, reachable, shortfall, smallest_p
from mcr_bench.bench.statistics.sign_flip import sign_flip


@pytest.mark.parametrize(
    ("pairs", "p"),
    [(0, 1), (1, 1), (3, 0.25), (4, 0.125), (5, 0.0625), (6, 0.03125), (8, 0.0078125), (10, 0.001953125)],
)
def test_the_smallest_p(pairs: int, p: float) -> None:
    assert smallest_p(pairs) == p == sign_flip(np.arange(1.0, pairs + 1))


def test_three_seeds_cannot_reach_alpha() -> None:
    assert not reachable(3)
    assert detectable(3) == inf
    assert pairs_needed(1) == 6


def test_seven_comparisons_need_nine_seeds() -> None:
    assert [reachable(n, 7) for n in (5, 8, 9)] == [False, False, True]  # 8 give .0547, 9 give .027
    assert pairs_needed(7) == 9
    assert pairs_needed(28) == 11  # 28 * 2 / 2^11 = .027


def test_a_bound_that_is_met_exactly_is_reached() -> None:
    assert reachable(5, 1, 0.0625)
    assert pairs_needed(2, 0.125) == 5
    assert detectable(5, 0.0625) < inf


@pytest.mark.parametrize(
    ("pairs", "alpha"), [(5, 0.1), (6, 0.05), (8, 0.05), (9, 0.05 / 7), (10, 0.05), (12, 0.05 / 7)]
)
@pytest.mark.parametrize("power", [0.5, 0.8])
def test_the_detectable_effect_has_its_power(pairs: int, alpha: float, power: float) -> None:
    d = np.random.default_rng(1).normal(detectable(pairs, alpha, power), 1, (3000, pairs))
    assert np.mean(np.asarray(sign_flip(d.T)) <= alpha) == pytest.approx(power, abs=0.035)


@pytest.mark.parametrize(("pairs", "alpha"), [(13, 0.05), (20, 0.05 / 7), (100, 0.001)])
def test_beyond_twelve_pairs_the_t_test_has_the_power(pairs: int, alpha: float) -> None:
    effect, critical = detectable(pairs, alpha), stats.t.isf(alpha / 2, pairs - 1)
    assert stats.nct.sf(critical, pairs - 1, effect * np.sqrt(pairs)) == pytest.approx(0.8, abs=1e-4)


def test_the_t_test_speaks_for_the_sign_flip_test() -> None:
    d = np.random.default_rng(1).normal(detectable(16, 0.05), 1, (600, 16))
    assert np.mean(np.asarray(sign_flip(d.T)) <= 0.05) == pytest.approx(0.8, abs=0.06)


def test_more_pairs_and_a_milder_alpha_detect_less() -> None:
    effects = [detectable(n) for n in (5, 6, 8, 10, 12, 13, 20, 50)]
    assert effects == sorted(effects, reverse=True)
    assert detectable(10, 0.05) < detectable(10, 0.01) < detectable(10, 0.01, 0.95)


def test_bad_questions() -> None:
    with pytest.raises(ValueError, match="pairs"):
        smallest_p(-1)
    with pytest.raises(ValueError, match="comparisons"):
        pairs_needed(0)
    with pytest.raises(ValueError, match="alpha"):
        reachable(5, 1, 0.0)
    with pytest.raises(ValueError, match="power"):
        detectable(8, 0.05, 1.0)


def test_an_alpha_that_no_number_of_pairs_reaches_is_refused_with_the_least_p() -> None:
    assert pairs_needed(1, 1e-9) == 31
    with pytest.raises(UserError, match=r"alpha 1e-300 over 2 comparisons: no number of pairs reaches it.*4.66e-10"):
        pairs_needed(2, 1e-300)


def test_beyond_32_pairs_no_p_is_smaller_than_the_random_patterns_allow() -> None:
    """A smallest p of 2 / 2^200 was stated for a test that gives none below 1e-5."""
    assert smallest_p(32) == 2.0**-31
    assert smallest_p(33) == smallest_p(200) == 1e-5 == sign_flip(np.ones(33))
    assert reachable(200, comparisons=2, alpha=2e-5)
    assert not reachable(200, comparisons=2, alpha=1e-6)
    assert detectable(200, alpha=1e-6) == inf
    short = shortfall(200, comparisons=2, alpha=1e-6)
    assert short is not None
    assert (short.smallest, short.needed) == (2e-5, 22)
