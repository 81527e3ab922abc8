"""Shapley values of modalities: by hand, and their axioms."""

from itertools import combinations

import pytest

from mcr_bench.bench.contributions import shapley


def subsets(names: str) -> list[frozenset[str]]:
    return [frozenset(s) for size in range(len(names) + 1) for s in combinations(names, size)]


def test_two_modalities_by_hand() -> None:
    values = {"": 0.2, "a": 0.5, "b": 0.4, "ab": 0.8}
    found = shapley({frozenset(s): v for s, v in values.items()})
    assert found == pytest.approx({"a": ((0.5 - 0.2) + (0.8 - 0.4)) / 2, "b": ((0.4 - 0.2) + (0.8 - 0.5)) / 2})


def test_three_modalities_by_hand() -> None:
    values = dict(zip(subsets("abc"), (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 5.0, 12.0), strict=True))
    # a enters after: nothing (1/3), b (1/6), c (1/6), b and c (1/3); orders of three players
    a = (1 - 0) / 3 + (4 - 2) / 6 + (6 - 3) / 6 + (12 - 5) / 3
    found = shapley(values)
    assert found["a"] == pytest.approx(a)
    assert sum(found.values()) == pytest.approx(12)


def test_one_modality_has_all() -> None:
    assert shapley({frozenset(): 0.25, frozenset("a"): 0.75}) == {"a": 0.5}


def test_a_modality_that_adds_nothing_has_nothing_and_equal_ones_share_equally() -> None:
    values = {s: 0.3 * len(s - {"d"}) ** 2 for s in subsets("abcd")}
    found = shapley(values)
    assert found["d"] == pytest.approx(0)
    assert found["a"] == pytest.approx(found["b"]) == pytest.approx(found["c"]) == pytest.approx(0.9)


def test_a_missing_subset_is_an_error() -> None:
    with pytest.raises(KeyError):
        shapley({frozenset(): 0.0, frozenset("a"): 0.5, frozenset("ab"): 1.0})
