"""Methods ranked across datasets: mean ranks, and Friedman's and Nemenyi's tests where there are enough datasets."""

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
import scipy  # its parts are imported where they are first used: each takes part of a second

from mcr_bench.bench.words import number_of

if TYPE_CHECKING:
    import pandas as pd

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


def rank(scores: "pd.DataFrame", higher_is_better: bool = True, alpha: float = 0.05) -> Ranks:
    """Rank methods, the columns of `scores`, within each dataset, its rows; ties share their average rank.

    Rows with a nan are left out and named in the reason. ValueError if there is no dataset or no method.

    >>> import pandas as pd
    >>> rank(pd.DataFrame({"a": [0.9, 0.8], "b": [0.7, 0.8]}, index=["x", "y"])).mean_ranks
    {'a': 1.25, 'b': 1.75}
    """
    if not scores.shape[1] or not len(scores):
        raise ValueError(f"scores must have at least one dataset and one method, not shape {scores.shape}")
    whole = scores.dropna()
    if whole.empty:
        return Ranks({}, 0, None, None, [], "no dataset has the scores of all methods")
    left_out = [str(name) for name in scores.index.difference(whole.index, sort=False)]
    notes = [f"left out for missing scores: {', '.join(left_out)}"] if left_out else []
    means = whole.rank(axis=1, ascending=not higher_is_better).mean().sort_values(kind="stable")
    mean_ranks = {str(name): float(value) for name, value in means.items()}
    lacking = _lacking(*whole.shape, alpha)
    if lacking:
        return Ranks(mean_ranks, len(whole), None, None, [], "; ".join([*notes, lacking]))
    p, cd = _friedman(whole), critical_difference(whole.shape[1], len(whole), alpha)
    if p > alpha:
        notes.append(f"Friedman's test does not reject that all methods are alike (p = {p:.3g}): none is separated")
    cliques = _cliques(mean_ranks, cd) if p <= alpha else [tuple(mean_ranks)]
    return Ranks(mean_ranks, len(whole), p, cd, cliques, "; ".join(notes))


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


def _friedman(scores: "pd.DataFrame") -> float:
    values = scores.to_numpy(dtype=float)
    if (values == values[:, :1]).all():
        return 1.0  # every method tied on every dataset, where the statistic is 0 / 0
    return float(scipy.stats.friedmanchisquare(*values.T).pvalue)


def _cliques(mean_ranks: dict[str, float], cd: float) -> list[tuple[str, ...]]:
    """Sequences of neighbouring methods within `cd` of their first one that are not part of a longer such sequence.

    mean_ranks must be sorted, the best method first.
    """
    names, values = list(mean_ranks), np.array(list(mean_ranks.values()))
    ends = np.searchsorted(values, values + cd, side="right")
    starts = [i for i, end in enumerate(ends) if end - i > 1 and (i == 0 or end > ends[i - 1])]
    return [tuple(names[i : ends[i]]) for i in starts]
