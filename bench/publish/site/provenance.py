"""Where every number of a leaderboard is from: one line per run."""

from collections.abc import Mapping

from markupsafe import Markup

from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.publish.gathered import Source
from mcr_bench.bench.record.row import OURS, RunRow
from mcr_bench.bench.report.html.tables import Line, Shown, grid
from mcr_bench.bench.words import decimal

DIGITS = 12  # of a digest
UNKNOWN = Source("", "", "")
COLUMNS = (
    *("method", "seed", "fold", "result", "from", "numbers", "version", "commit", "device", "code", "data"),
    *("predictions", "key"),
)


def provenance_markup(comparison: Comparison, sources: Mapping[str, Source]) -> Markup:
    """A table with a line per run: its result, where it is from, what was checked, and the digests of what made it."""
    lines = [_line(label, row, sources) for label, runs in comparison.lines.items() for row in runs]
    return grid(f"Provenance of {comparison.title}", COLUMNS, lines)


def _line(label: str, row: RunRow, sources: Mapping[str, Source]) -> Line:
    source = sources.get(row.run_id, UNKNOWN)
    device = row.device_name or row.device
    words = (source.origin, source.state, row.versions.get(OURS, ""), row.commit[:DIGITS], device)
    digests = (row.method_digest[:DIGITS], row.fingerprint[:DIGITS], source.predictions[:DIGITS], row.key)
    value = "-" if row.value is None else decimal(row.value, 4)
    shown = [Shown(label), Shown(row.seed), Shown(row.fold), Shown(value), *map(Shown, words)]
    cells = (label, row.seed, row.fold, row.value, *words, *digests)
    return cells, [*shown, *(Shown(digest, code=True) for digest in digests)]
