"""Ranks across datasets -> a table and plain data."""

from typing import Any

from mcr_bench.bench.report.table import Cell, Table
from mcr_bench.bench.statistics.ranks import Ranks


def rank_table(ranks: Ranks) -> Table:
    """Mean ranks, best first; Friedman and Nemenyi, or why there are none, in the notes."""
    rows: list[tuple[Cell, ...]] = list(ranks.mean_ranks.items())
    notes = [ranks.reason] if ranks.reason else []
    if ranks.friedman is not None and ranks.critical_difference is not None:
        notes.append(
            f"Friedman p = {ranks.friedman:.2g}; Nemenyi's critical difference {ranks.critical_difference:.2f}"
        )
        notes += [f"not separated: {', '.join(clique)}" for clique in ranks.cliques]
    return Table(f"Mean ranks over {ranks.datasets} dataset(s)", ("method", "mean rank"), (0, 2), rows, notes)


def rank_data(ranks: Ranks) -> dict[str, Any]:
    """The same for a program."""
    return vars(ranks)
