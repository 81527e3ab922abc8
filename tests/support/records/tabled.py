"""The tables of rows of the record, as `run` shows them at its end."""

from collections.abc import Iterable, Sequence

from mcr_bench.bench.analysis.compared import Skipped
from mcr_bench.bench.analysis.comparisons import comparisons
from mcr_bench.bench.analysis.table import Table, comparison_table
from mcr_bench.bench.record.row import RunRow


def comparison_tables(rows: Iterable[RunRow], baseline: str, skipped: Sequence[Skipped] = ()) -> list[Table]:
    """One table per comparison; costs are relative to `baseline`."""
    return [comparison_table(found, baseline) for found in comparisons(rows, baseline, skipped)]
