"""Methods ranked across the datasets of a record: the ranks, as a table and as plain data."""

from collections.abc import Iterable
from dataclasses import replace
from math import isfinite
from statistics import fmean
from typing import Any

import pandas as pd

from mcr_bench.bench.report.lines import LOWER_IS_BETTER, Comparison
from mcr_bench.bench.report.table import Cell, Table
from mcr_bench.bench.statistics.ranks import Ranks, rank

NOTHING = "no two methods have finished runs on every dataset"


def rank_datasets(comparisons: Iterable[Comparison]) -> Ranks:
    """Ranks of the methods that every dataset has, by mean test metric; the reason names those left out.

    Comparisons of one dataset share their data, so only one counts: that of most modalities, then of most runs.
    Unimodal lines do not count. Without two methods common to all there are no ranks, and the reason says so.
    """
    chosen: dict[str, Comparison] = {}
    for found in comparisons:
        if found.lines:
            chosen[found.dataset] = max(chosen.get(found.dataset, found), found, key=_size)
    scores = pd.DataFrame({name: _scores(found) for name, found in chosen.items()}).T
    common = scores.dropna(axis=1)
    if len(scores) == 0 or common.shape[1] < 2:
        return Ranks({}, len(scores), None, None, [], NOTHING)
    missing = [str(name) for name in scores.columns[scores.isna().any()]]
    ranks = rank(common)
    notes = [ranks.reason, f"not on every dataset: {', '.join(missing)}" * bool(missing)]
    return replace(ranks, reason="; ".join(filter(None, notes)))


def rank_table(ranks: Ranks) -> Table:
    """Mean ranks, best first; Friedman and Nemenyi, or why there are none, in the notes."""
    rows: list[tuple[Cell, ...]] = list(ranks.mean_ranks.items())
    notes = [ranks.reason] if ranks.reason else []
    if ranks.friedman is not None and ranks.critical_difference is not None:
        notes.append(f"Friedman p = {ranks.friedman:.2g}; Nemenyi critical difference {ranks.critical_difference:.2f}")
        notes += [f"not separated: {', '.join(clique)}" for clique in ranks.cliques]
    return Table(f"Mean ranks over {ranks.datasets} dataset(s)", ("method", "mean rank"), (0, 2), rows, notes)


def rank_data(ranks: Ranks) -> dict[str, Any]:
    """The same for a program."""
    return vars(ranks)


def _size(found: Comparison) -> tuple[int, int]:
    return len(found.modalities), len(found.rows)


def _scores(found: Comparison) -> dict[str, float]:
    """label -> mean, turned so that higher is better."""
    sign = -1 if found.metric in LOWER_IS_BETTER else 1
    single = found.of_role("unimodal")
    values = {
        label: [row["value"] for row in runs if row["value"] is not None and isfinite(row["value"])]
        for label, runs in found.lines.items()
        if label not in single
    }
    return {label: sign * fmean(known) for label, known in values.items() if known}
