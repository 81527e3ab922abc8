"""Expected best of n draws: against enumeration of all draws, against closed forms, and with failures."""

from itertools import product

import numpy as np
import pytest

from mcr_bench.bench.tuning.budget import expected_best


@pytest.mark.parametrize("higher", [True, False])
@pytest.mark.parametrize("values", [[0.3], [0.1, 0.9], [0.5, 0.5, 0.2], [4.0, -1.0, 2.0, 2.5]])
def test_it_is_the_mean_over_all_draws_with_replacement(values: list[float], higher: bool) -> None:
    best = max if higher else min
    enumerated = [np.mean([best(d) for d in product(values, repeat=n)]) for n in range(1, len(values) + 1)]
    np.testing.assert_allclose(expected_best(values, higher), enumerated, rtol=1e-12)


def test_of_1_to_n_it_has_a_closed_form() -> None:
    size = 50
    # sum over thresholds of P(max >= i), the i-th of 1 .. N
    closed = [sum(1 - ((i - 1) / size) ** n for i in range(1, size + 1)) for n in range(1, size + 1)]
    shuffled = np.random.default_rng(0).permutation(size) + 1
    np.testing.assert_allclose(expected_best(shuffled, True), closed)


@pytest.mark.parametrize("higher", [True, False])
def test_it_begins_at_the_mean_and_never_gets_worse(higher: bool) -> None:
    values = np.random.default_rng(1).normal(size=30)
    curve = expected_best(values, higher)
    assert curve[0] == pytest.approx(values.mean())
    steps = np.diff(curve) * (1 if higher else -1)
    assert (steps > 0).all()
    bound = values.max() if higher else values.min()
    assert abs(curve[-1] - bound) < abs(curve[0] - bound)


def test_a_failed_draw_counts_as_the_worst() -> None:
    nan = float("nan")
    np.testing.assert_allclose(expected_best([0.4, nan, 0.8], True), expected_best([0.4, 0.4, 0.8], True))
    np.testing.assert_allclose(expected_best([0.4, nan, 0.8], False), expected_best([0.4, 0.8, 0.8], False))
    assert np.isnan(expected_best([nan, nan], True)).all()


def test_nothing_drawn_gives_no_curve_and_tables_are_refused() -> None:
    assert expected_best([], True).shape == (0,)
    with pytest.raises(ValueError, match="shape"):
        expected_best([[1.0, 2.0]], True)
