"""The table of a leaderboard: results with verdict and interval, costs, optimiser, tuning budget and source."""

import re
from collections.abc import Callable, Iterable, Mapping
from math import isfinite

from mcr_bench.bench.analysis.claimed import Against, Claims
from mcr_bench.bench.analysis.claims import leading
from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.table import Cell, Table, comparison_table
from mcr_bench.bench.publish.gathered import Source
from mcr_bench.bench.record.row import RunRow

BUDGET = re.compile(r"tuned-here@(\d+)")
TESTED = 4  # columns before those of the test: method, value, deviation, number of runs
Columns = list[tuple[str, int, Callable[[str, list[RunRow]], Cell]]]


def board_table(
    comparison: Comparison, claims: Claims | str, cost_baseline: str, sources: Mapping[str, Source]
) -> Table:
    """The table of a comparison with what its primary test says of each line, and how the line came about."""
    table = comparison_table(comparison, cost_baseline, lambda _: _leading(claims))
    runs = list(comparison.lines.items())
    place = 1 + max(i for i, name in enumerate(table.columns[:TESTED]) if name in ("n", "sd") or i < 2)
    first, last = _test(claims), _made(sources)
    lines = [
        (*cells[:place], *(read(*runs[i]) if i < len(runs) else None for *_, read in first), *cells[place:],
         *(read(*runs[i]) if i < len(runs) else None for *_, read in last))
        for i, cells in enumerate(table.rows)
    ]  # fmt: skip
    columns = (*table.columns[:place], *(c[0] for c in first), *table.columns[place:], *(c[0] for c in last))
    digits = (*table.digits[:place], *(c[1] for c in first), *table.digits[place:], *(c[1] for c in last))
    return Table(table.title, columns, digits, lines, [*table.notes, *_notes(claims)], table.bold, floor=table.floor)


def verdict(claims: Claims, label: str) -> str:
    """What the primary test says of a line, in one or two words."""
    if label == claims.baseline:
        return "baseline"
    one = next((one for one in claims.against if one.label == label), None)
    if one is None:
        return "not tested"
    if not one.primary:
        return "explored"
    if label in claims.untested:
        return "too few pairs"
    return "better" if label in claims.better else "worse" if label in claims.worse else "not separated"


def tuning_of(row: RunRow) -> str:
    """How the settings of a run were chosen: trials of a search of this program, or who chose the preset."""
    budget = BUDGET.search(row.preset_origin)
    return f"{budget[1]} trials" if budget else f"none ({row.preset_origin or 'preset of unknown origin'})"


def optimiser_of(row: RunRow) -> str:
    """Name and learning rate; empty where they are not on record."""
    name, rate = row.settings.get("optimizer.name"), row.settings.get("optimizer.lr")
    return "" if name is None or row.epochs == 0 else f"{name}, lr {rate}"


def _test(claims: Claims | str) -> Columns:
    if isinstance(claims, str):
        return []
    known, size = {one.label: one for one in claims.against}, 2 if claims.scale == 100 else 4

    def of(read: Callable[[Against], float]) -> Callable[[str, list[RunRow]], Cell]:
        def cell(label: str, _: list[RunRow]) -> Cell:
            value = read(known[label]) if label in known else None
            return value if value is not None and isfinite(value) else None

        return cell

    return [
        (f"difference ({claims.unit})", size, of(lambda one: one.paired.difference)),
        ("95 % low", size, of(lambda one: one.paired.interval.low)),
        ("high", size, of(lambda one: one.paired.interval.high)),
        ("p (Holm)", 4, of(lambda one: one.adjusted)),
        ("verdict", 0, lambda label, _: verdict(claims, label)),
    ]


def _made(sources: Mapping[str, Source]) -> Columns:
    return [
        ("optimiser", 0, lambda _, runs: _each(map(optimiser_of, runs))),
        ("tuning", 0, lambda _, runs: _each(map(tuning_of, runs))),
        ("from", 0, lambda _, runs: _each(sources[row.run_id].origin for row in runs if row.run_id in sources)),
    ]


def _each(texts: Iterable[str]) -> str | None:
    """Each text once."""
    return ", ".join(dict.fromkeys(filter(None, texts))) or None


def _leading(claims: Claims | str) -> tuple[set[str], str]:
    return (set(), f"no bold type: {claims}") if isinstance(claims, str) else leading(claims)


def _notes(claims: Claims | str) -> list[str]:
    tuning = "tuning: trials of a search on the validation part; none: the settings of the preset, and who chose these"
    if isinstance(claims, str):
        return [tuning]
    rule = f"verdict: by the exact sign-flip test of pairs of seed and fold against {claims.baseline}, with Holm's "
    rule += "correction; difference and interval: means over these pairs; explored: outside the family of the test"
    return [rule, tuning, *claims.notes]
