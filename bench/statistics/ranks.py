"""Methods ranked across datasets: mean ranks, and Friedman's and Nemenyi's tests where there are enough datasets."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np
import scipy  # its parts are imported where they are first used: each takes part of a second

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.statistics.intervals import ROUNDING
from mcr_bench.bench.words import number_of

# Chosen here: with fewer, Nemenyi's test at .05 can separate two of 8 methods only if their ranks differ by over 5.2.
FEWEST_DATASETS = 5
FEWEST_METHODS = 3  # for Friedman's test; two methods are a paired comparison


@dataclass(frozen=True)
class Ranks:
    """The ranks of methods over datasets.

    mean_ranks: method -> its mean rank, 1 being best; the best method first.
    datasets: the number of datasets.
    friedman: p of Friedman's test that all methods are alike; None where it is not given.
    critical_difference: the difference in mean rank from which on Nemenyi's test separates two methods, or None.
    cliques: largest groups of two or more methods that are not separated, the best first.
    reason: why there are no tests, what was left out or why no method is separated; empty where there is no reason.
    by: what the scores are, in words; empty where the caller does not give it.
    over: what the scores were measured on, in words; empty where the caller does not give it.
    """

    mean_ranks: dict[str, float]
    datasets: int
    friedman: float | None
    critical_difference: float | None
    cliques: list[tuple[str, ...]]
    reason: str
    by: str = ""
    over: tuple[str, ...] = ()


def critical_difference(methods: int, datasets: int, alpha: float = 0.05) -> float:
    """Nemenyi's critical difference, q_alpha / sqrt(2) sqrt(k (k + 1) / (6 N)), of k methods on N datasets.

    Source: Demsar, Journal of Machine Learning Research 7, 2006, section 3.2.2.

    >>> round(critical_difference(methods=4, datasets=14), 2)
    1.25
    """
    q = float(scipy.stats.studentized_range.ppf(1 - alpha, methods, np.inf))
    return q / sqrt(2) * sqrt(methods * (methods + 1) / (6 * datasets))


def mean_ranks(values: Array) -> Array:
    """The ranks of values (n,) from 1, equal ones with their mean rank; means that differ by rounding alone are equal.

    They are those of scipy.stats.rankdata, whose import takes most of a second, in each command that prints a table.

    >>> mean_ranks(np.array([0.3, 0.1, 0.3])).tolist()
    [2.5, 1.0, 2.5]
    """
    order = np.argsort(values, kind="stable")
    scale = np.abs(values, where=np.isfinite(values), out=np.zeros(len(values))).max(initial=0.0)
    place = np.zeros(len(values), dtype=np.int64)
    with np.errstate(invalid="ignore"):  # of infinite ones, which are equal
        place[order[1:]] = np.cumsum(np.diff(values[order]) > ROUNDING * scale)
    counts = np.bincount(place)
    ranks: Array = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def rank(scores: Mapping[str, Mapping[str, float]], higher_is_better: bool = True, alpha: float = 0.05) -> Ranks:
    """Rank methods within each dataset, and give their mean over datasets.

    scores: dataset -> method -> its score. Datasets with a nan are left out and named in the reason.

    ValueError if there is no dataset or no method, or if datasets have different methods.

    >>> rank({"x": {"a": 0.9, "b": 0.7}, "y": {"a": 0.8, "b": 0.8}}).mean_ranks
    {'a': 1.25, 'b': 1.75}
    """
    methods = list(next(iter(scores.values()), {}))
    if not methods:
        raise ValueError("scores must have at least one dataset and one method")
    if other := [name for name, row in scores.items() if row.keys() != set(methods)]:
        raise ValueError(f"every dataset must have the methods {', '.join(methods)}; {', '.join(other)} has others")
    every = np.array([[row[method] for method in methods] for row in scores.values()], dtype=float)
    having = ~np.isnan(every).any(axis=1)
    whole = every[having]
    if not len(whole):
        return Ranks({}, 0, None, None, [], "no dataset has the scores of all methods")
    left_out = [name for name, has in zip(scores, having, strict=True) if not has]
    notes = [f"left out for missing scores: {', '.join(left_out)}"] if left_out else []
    means = np.mean([mean_ranks(-row if higher_is_better else row) for row in whole], axis=0)
    ranked = {methods[at]: float(means[at]) for at in np.argsort(means, kind="stable")}
    lacking = _lacking(len(whole), len(methods), alpha)
    if lacking:
        return Ranks(ranked, len(whole), None, None, [], "; ".join([*notes, lacking]))
    p, cd = _friedman(whole), critical_difference(len(methods), len(whole), alpha)
    if p > alpha:
        notes.append(f"Friedman's test does not reject that all methods are alike (p = {p:.3g}): none is separated")
    cliques = _cliques(ranked, cd) if p <= alpha else [tuple(ranked)]
    return Ranks(ranked, len(whole), p, cd, cliques, "; ".join(notes))


def _lacking(datasets: int, methods: int, alpha: float) -> str:
    """Why Friedman's and Nemenyi's tests are not given; empty where they are."""
    if methods < FEWEST_METHODS:
        return f"{methods} methods: Friedman's test compares at least {FEWEST_METHODS}"
    if datasets < FEWEST_DATASETS:
        return (
            f"{number_of(datasets, 'dataset')}: at least {FEWEST_DATASETS} are needed for Friedman's test and critical "
            "differences"
        )
    smallest = float(scipy.stats.chi2.sf(datasets * (methods - 1), methods - 1))
    if smallest > alpha:
        return f"the smallest p that Friedman's test can reach here is {smallest:.3g}, above {alpha:g}"
    cd = critical_difference(methods, datasets, alpha)
    if cd > methods - 1:
        return f"the critical difference, {cd:.2f} ranks, exceeds the largest possible one, {methods - 1}"
    return ""


def _friedman(scores: Array) -> float:
    """p of Friedman's test. scores: (datasets, methods)."""
    if (scores == scores[:, :1]).all():
        return 1.0  # every method tied on every dataset, where the statistic is 0 / 0
    return float(scipy.stats.friedmanchisquare(*scores.T).pvalue)


def _cliques(ranked: dict[str, float], cd: float) -> list[tuple[str, ...]]:
    """Sequences of neighbouring methods within `cd` of their first one that are not part of a longer such sequence.

    ranked must be sorted, the best method first.
    """
    names, values = list(ranked), np.array(list(ranked.values()))
    ends = np.searchsorted(values, values + cd, side="right")
    starts = [i for i, end in enumerate(ends) if end - i > 1 and (i == 0 or end > ends[i - 1])]
    return [tuple(names[i : ends[i]]) for i in starts]
