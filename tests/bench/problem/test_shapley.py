"""Shapley values of modalities: by hand, against all orders of arrival, and their axioms for any number of players."""

from collections.abc import Callable
from itertools import combinations, permutations

import pytest
import torch

from mcr_bench.bench.core.seeds import generator
from mcr_bench.bench.problem.shapley import shapley_plan, shapley_values

Game = Callable[[frozenset[str]], float]


def subsets(names: str) -> list[frozenset[str]]:
    return [frozenset(s) for size in range(len(names) + 1) for s in combinations(names, size)]


def over_all_orders(names: str, game: Game) -> list[float]:
    """Mean marginal contribution over every order of arrival."""
    orders = list(permutations(names))
    before = {m: [frozenset(order[: order.index(m)]) for order in orders] for m in names}
    return [sum(game(s | {m}) - game(s) for s in before[m]) / len(orders) for m in names]


def planned(names: str, game: Game, seed: int = 0) -> list[float]:
    chosen, weights = shapley_plan(list(names), generator(seed, "method", "subsets"))
    return (weights @ torch.tensor([game(s) for s in chosen], dtype=torch.float64)).tolist()


def random_game(names: str) -> Game:
    worth = torch.randn(2 ** len(names), generator=generator(4, "data")).tolist()
    return dict(zip(subsets(names), worth, strict=True)).__getitem__


def test_two_modalities_by_hand() -> None:
    values = {"": 0.2, "a": 0.5, "b": 0.4, "ab": 0.8}
    result = shapley_values({frozenset(s): v for s, v in values.items()})
    assert result == pytest.approx({"a": ((0.5 - 0.2) + (0.8 - 0.4)) / 2, "b": ((0.4 - 0.2) + (0.8 - 0.5)) / 2})


def test_three_modalities_by_hand() -> None:
    values = dict(zip(subsets("abc"), (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 5.0, 12.0), strict=True))
    # a enters after: nothing (1/3), b (1/6), c (1/6), b and c (1/3); orders of three players
    a = (1 - 0) / 3 + (4 - 2) / 6 + (6 - 3) / 6 + (12 - 5) / 3
    result = shapley_values(values)
    assert result["a"] == pytest.approx(a)
    assert sum(result.values()) == pytest.approx(12)


def test_one_modality_has_all() -> None:
    assert shapley_values({frozenset(): 0.25, frozenset("a"): 0.75}) == {"a": 0.5}


def test_a_modality_that_adds_nothing_has_nothing_and_equal_ones_share_equally() -> None:
    result = shapley_values({s: 0.3 * len(s - {"d"}) ** 2 for s in subsets("abcd")})
    assert result["d"] == pytest.approx(0)
    assert result["a"] == pytest.approx(result["b"]) == pytest.approx(result["c"]) == pytest.approx(0.9)


def test_a_missing_subset_is_an_error() -> None:
    with pytest.raises(KeyError):
        shapley_values({frozenset(): 0.0, frozenset("a"): 0.5, frozenset("ab"): 1.0})


@pytest.mark.parametrize("names", ["a", "ab", "abc", "abcd"])
def test_up_to_four_players_every_subset_is_taken_and_the_values_are_exact(names: str) -> None:
    chosen, _ = shapley_plan(list(names), generator(0, "method"))
    assert sorted(map(sorted, chosen)) == sorted(map(sorted, subsets(names)))
    game = random_game(names)
    assert planned(names, game) == pytest.approx(over_all_orders(names, game))


@pytest.mark.parametrize(("names", "count"), [("abcde", 22), ("abcdef", 32), ("abcdefgh", 58)])
def test_from_five_players_on_single_leave_one_out_and_some_more_subsets_are_taken(names: str, count: int) -> None:
    chosen, weights = shapley_plan(list(names), generator(0, "method"))
    assert len(set(chosen)) == len(chosen) == count == weights.shape[1]  # M (M - 1) + 2
    everyone = frozenset(names)
    assert chosen[0] == frozenset()
    assert {everyone} | {frozenset(m) for m in names} | {everyone - {m} for m in names} < set(chosen)


@pytest.mark.parametrize("names", ["abcde", "abcdef"])
def test_drawn_values_sum_to_the_whole_and_are_unbiased(names: str) -> None:
    game = random_game(names)
    exact, draws = over_all_orders(names, game), [planned(names, game, seed) for seed in range(400)]
    for result in draws:
        assert sum(result) == pytest.approx(game(frozenset(names)) - game(frozenset()))
    result = torch.tensor(draws, dtype=torch.float64)
    error = result.std(0) / 20  # of a mean over 400
    assert ((result.mean(0) - torch.tensor(exact, dtype=torch.float64)).abs() < 4 * error).all()
    assert (result.std(0) > 0.01).all()  # the draws differ


@pytest.mark.parametrize("seed", range(3))
def test_drawn_values_of_an_additive_game_are_exact(seed: int) -> None:
    present = {"a": 1.0, "b": -2.0, "c": 0.5, "d": 3.0, "e": 0.0, "f": 7.0}
    absent = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4, "e": 0.5, "f": 0.6}

    def game(s: frozenset[str]) -> float:
        return sum(present[m] if m in s else absent[m] for m in present) + 0.25

    assert planned("abcdef", game, seed) == pytest.approx([present[m] - absent[m] for m in present])


def test_the_order_of_players_changes_no_value() -> None:
    game = random_game("abcdef")
    assert planned("fbdaec", game) == pytest.approx([planned("abcdef", game)["abcdef".index(m)] for m in "fbdaec"])


def test_values_from_drawn_subsets_are_those_of_the_plan() -> None:
    game = random_game("abcde")
    chosen, _ = shapley_plan(list("abcde"), generator(3, "method", "subsets"))
    assert list(shapley_values({s: game(s) for s in chosen}).values()) == pytest.approx(planned("abcde", game, 3))
