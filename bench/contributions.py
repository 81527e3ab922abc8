"""How much each modality contributes to a metric: exact Shapley values over the subsets of the modalities."""

from collections.abc import Mapping
from itertools import combinations
from math import factorial


def shapley(values: Mapping[frozenset[str], float]) -> dict[str, float]:
    """phi_m = sum_{S without m} |S|! (M - |S| - 1)! / M! (v(S + m) - v(S)); they sum to v(all) - v(none).

    values: v of every subset of the modalities, the empty one included; with M modalities 2^M values. Shapley, "A value
    for n-person games" (1953), with an absent modality at its mean training input. KeyError where a subset is missing.
    """
    names = sorted(frozenset().union(*values))
    count = len(names)
    weights = [factorial(size) * factorial(count - size - 1) / factorial(count) for size in range(count)]
    found = {}
    for m in names:
        others = [name for name in names if name != m]
        subsets = [frozenset(s) for size in range(count) for s in combinations(others, size)]
        found[m] = sum(weights[len(s)] * (values[s | {m}] - values[s]) for s in subsets)
    return found
