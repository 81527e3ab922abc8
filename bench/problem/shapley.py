"""Shapley values of a few players: over every subset, or over the arcs of one circular order if there are many players.

Shapley, "A value for n-person games" (1953): phi_m is the mean over sizes k = 0..M-1 of the mean of v(S + m) - v(S)
over the subsets S of size k without m. With every subset this is exact. The M (M - 1) arcs of a random circular order,
with the empty and the full set, contain both directions of its M rotations: 2 M orders of arrival, in which each player
takes every place twice. The values therefore still sum to v(all) - v(none) exactly. They are exact if v is a sum over
the players that are present, as with an additive fusion head, and unbiased otherwise.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations

import torch
from torch import Tensor

EXACT = 4  # up to this many players every subset is used: 16 subsets, while five players would need 32 (our choice)

Subset = frozenset[str]


def shapley_values(values: Mapping[Subset, float]) -> dict[str, float]:
    """Player -> Shapley value, from v of the subsets that `shapley_plan` lists; KeyError if a needed one is missing.

    >>> none, a, b = frozenset(), frozenset("a"), frozenset("b")
    >>> shapley_values({none: 0.0, a: 1.0, b: 2.0, a | b: 5.0})
    {'a': 2.0, 'b': 3.0}
    """
    names = sorted(frozenset().union(*values))
    weights = _weights(tuple(names), tuple(values))
    shares = weights @ torch.tensor(list(values.values()), dtype=torch.float64)
    return dict(zip(names, shares.tolist(), strict=True))


def shapley_plan(players: Sequence[str], generator: torch.Generator) -> tuple[list[Subset], Tensor]:
    """The S subsets to evaluate, the empty one first, and weights (M, S) float64: values = weights @ v(subsets).

    Row m of the weights belongs to `players[m]`. From five players on the subsets are drawn with `generator`; they do
    not depend on the order of `players`.
    """
    count = len(players)
    if count <= EXACT:
        order = list(players)
        subsets, weights = _all_subsets(count)
    else:
        names, places = sorted(players), torch.randperm(count, generator=generator, device=generator.device)
        order = [names[i] for i in places.tolist()]
        subsets, weights = _arcs(count)
    named = [frozenset(order[int(i)] for i in subset) for subset in subsets]
    return named, weights[[order.index(m) for m in players]]


@cache
def _all_subsets(count: int) -> tuple[tuple[Subset, ...], Tensor]:
    places = [str(i) for i in range(count)]
    return _with_weights([frozenset(s) for size in range(count + 1) for s in combinations(places, size)])


@cache
def _arcs(count: int) -> tuple[tuple[Subset, ...], Tensor]:
    arcs = [
        frozenset(str((start + i) % count) for i in range(length))
        for length in range(1, count)
        for start in range(count)
    ]
    return _with_weights([frozenset(), *arcs, frozenset(map(str, range(count)))])


def _with_weights(subsets: list[Subset]) -> tuple[tuple[Subset, ...], Tensor]:
    places = sorted(subsets[-1], key=int)
    return tuple(subsets), _weights(tuple(places), tuple(subsets))


def _weights(players: tuple[str, ...], subsets: tuple[Subset, ...]) -> Tensor:
    """(M, subsets): the mean over sizes of the mean marginal contribution over the available pairs S, S + m."""
    column = {subset: i for i, subset in enumerate(subsets)}
    weights = torch.zeros(len(players), len(subsets), dtype=torch.float64)
    for row, player in enumerate(players):
        for size in range(len(players)):
            pairs = [s for s in subsets if len(s) == size and player not in s and s | {player} in column]
            if not pairs:
                raise KeyError(f"no pair of subsets shows what '{player}' adds to {size} others")
            share = 1.0 / (len(players) * len(pairs))
            for subset in pairs:
                weights[row, column[subset]] -= share
                weights[row, column[subset | {player}]] += share
    return weights
