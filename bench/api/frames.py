"""Tables and runs as DataFrames."""

from collections.abc import Sequence

import pandas as pd

from mcr_bench.bench.analysis.table import Table
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.report.results import cells_of, columns_of


def frame_of(tables: Sequence[Table]) -> pd.DataFrame:
    """The tables as one DataFrame, at full precision, with the first column as index; `attrs["notes"]` has the notes.

    Of several tables the title comes first in the index.
    """
    frames = {table.title: _frame(table) for table in tables}
    if not frames:
        return pd.DataFrame()
    joined = next(iter(frames.values())) if len(frames) == 1 else pd.concat(frames, names=["comparison"])
    joined.attrs["title"] = " / ".join(frames)
    joined.attrs["notes"] = list(dict.fromkeys(note for table in tables for note in table.notes))
    return joined


def shown(table: Table) -> pd.DataFrame:
    """The cells of a table as they are printed, with the first column as index."""
    return pd.DataFrame(table.text(), columns=list(table.columns)).set_index(table.columns[0])


def _frame(table: Table) -> pd.DataFrame:
    frame = pd.DataFrame(table.rows, columns=list(table.columns))
    return frame.set_index(table.columns[0])


def runs_frame(rows: Sequence[RunRow]) -> pd.DataFrame:
    """One row per run, indexed by key: every field, `settings.NAME` and `metrics.NAME`."""
    return pd.DataFrame([cells_of(row) for row in rows], columns=columns_of(rows)).set_index("key")
