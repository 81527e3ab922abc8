"""Methods across datasets: mean ranks always, Friedman and Nemenyi where there are datasets enough."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import pandas as pd
from scipy import stats

# Chosen here: below, Nemenyi at .05 cannot separate the extremes of 8 methods by less than 5.2 ranks.
FEWEST_DATASETS = 5
FEWEST_METHODS = 3  # of Friedman's test; two methods are a paired comparison


@dataclass(frozen=True)
class Ranks:
    """mean_ranks: method -> mean rank (1 is best), best first; friedman: p; critical_difference: Nemenyi's, in ranks.

    cliques: maximal groups of two or more methods that are not separated, best first. reason: in words, why friedman
    and critical_difference are None, what was left out, or why nothing is separated; empty where nothing is to be said.
    by: what the scores are; over: what they were taken on, in words; both empty where the caller does not say.
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
    """Nemenyi's: q_alpha / sqrt(2) * sqrt(k (k + 1) / (6 N)) (Demsar, JMLR 7, 2006, section 3.2.2)."""
    q = float(stats.studentized_range.ppf(1 - alpha, methods, np.inf))
    return q / sqrt(2) * sqrt(methods * (methods + 1) / (6 * datasets))


def rank(scores: pd.DataFrame, higher_is_better: bool = True, alpha: float = 0.05) -> Ranks:
    """Rank the columns (methods) of scores within each row (dataset); ties share their average rank.

    Rows with a nan are left out and named in the reason. ValueError without a dataset or a method.
    """
    if not scores.shape[1] or not len(scores):
        raise ValueError(f"scores need a dataset and a method, not shape {scores.shape}")
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
    """Why Friedman and Nemenyi are not given; empty where they are."""
    if methods < FEWEST_METHODS:
        return f"{methods} methods: Friedman's test compares at least {FEWEST_METHODS}"
    if datasets < FEWEST_DATASETS:
        return (
            f"{datasets} dataset(s): at least {FEWEST_DATASETS} are needed for Friedman's test and critical differences"
        )
    smallest = float(stats.chi2.sf(datasets * (methods - 1), methods - 1))
    if smallest > alpha:
        return f"the smallest p that Friedman's test can reach here is {smallest:.3g}, above {alpha:g}"
    cd = critical_difference(methods, datasets, alpha)
    if cd > methods - 1:
        return f"the critical difference, {cd:.2f} ranks, exceeds the largest possible one, {methods - 1}"
    return ""


def _friedman(scores: pd.DataFrame) -> float:
    values = scores.to_numpy(dtype=float)
    if (values == values[:, :1]).all():
        return 1.0  # every method tied on every dataset, where the statistic is 0 / 0
    return float(stats.friedmanchisquare(*values.T).pvalue)


def _cliques(mean_ranks: dict[str, float], cd: float) -> list[tuple[str, ...]]:
    """Runs of neighbours within cd of their first that no longer run contains; mean_ranks come best first."""
    names, values = list(mean_ranks), np.array(list(mean_ranks.values()))
    ends = np.searchsorted(values, values + cd, side="right")
    starts = [i for i, end in enumerate(ends) if end - i > 1 and (i == 0 or end > ends[i - 1])]
    return [tuple(names[i : ends[i]]) for i in starts]
