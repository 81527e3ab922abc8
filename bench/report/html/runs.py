"""The runs and settings behind each line of a comparison, where the cells of its tables lead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.report.html.markup import render
from mcr_bench.bench.report.html.tables import Line, Shown, grid
from mcr_bench.bench.words import decimal

Settings = Mapping[str, str]


def settings_id(section: str, number: int) -> str:
    """Where the settings of a line stand."""
    return f"{section}-l{number}-settings"


def runs_id(section: str, number: int) -> str:
    """Where the runs of a line stand."""
    return f"{section}-l{number}-runs"


@dataclass(frozen=True)
class Behind:
    """The runs and settings of a line of a comparison.

    label: the line.
    runs: the number of its runs.
    own: the settings that not all lines share.
    settings_id: the anchor of its settings.
    runs_id: the anchor of its runs.
    table: the table of its runs, with one row each.
    """

    label: str
    runs: int
    own: Settings
    settings_id: str
    runs_id: str
    table: Markup


def lines_markup(comparison: Comparison, section: str) -> Markup:
    """For every line its settings and its runs; then the settings that all lines share, and the failed runs."""
    settings = {label: settings_of(runs) for label, runs in comparison.lines.items()}
    shared = shared_settings(list(settings.values()))
    lines = [
        _behind(comparison, label, {k: v for k, v in own.items() if k not in shared}, section, i)
        for i, (label, own) in enumerate(settings.items())
    ]
    return render(
        "lines",
        section=section,
        lines=lines,
        shared=shared,
        failed_runs=len(comparison.failed),
        failed=_failures(comparison),
    )


def settings_of(runs: Sequence[RunRow]) -> dict[str, str]:
    """The params of a line; values in which its runs differ stand beside each other."""
    keys = dict.fromkeys(key for row in runs for key in row.settings)
    return {key: " | ".join(dict.fromkeys(str(row.settings.get(key, "-")) for row in runs)) for key in keys}


def shared_settings(lines: Sequence[Settings]) -> dict[str, str]:
    """What every line sets to the same value."""
    first, *others = lines or [{}]
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}


def _behind(comparison: Comparison, label: str, own: Settings, section: str, number: int) -> Behind:
    places = settings_id(section, number), runs_id(section, number)
    return Behind(label, len(comparison.lines[label]), own, *places, _runs(comparison, label))


def _runs(comparison: Comparison, label: str) -> Markup:
    runs = sorted(comparison.lines[label], key=lambda row: (row.seed, row.fold))
    modalities = [m for m in comparison.modalities if any(m in row.unimodal for row in runs)]
    columns = ["seed", "fold", f"test {comparison.metric}", *modalities, "seconds", "run", "key"]
    return grid(f"Runs of {label}", columns, [_run(row, modalities) for row in runs])


def _run(row: RunRow, modalities: Sequence[str]) -> Line:
    values = [row.value, *(row.unimodal.get(m) for m in modalities)]
    shown = ["-" if value is None else decimal(value, 4) for value in values]
    seconds = "-" if row.costs.seconds is None else f"{row.costs.seconds:.1f}"
    ids = (row.run_id, row.key)
    return (
        (row.seed, row.fold, *values, row.costs.seconds, *ids),
        [*map(Shown, (row.seed, row.fold, *shown, seconds)), *(Shown(value, code=True) for value in ids)],
    )


def _failures(comparison: Comparison) -> Markup:
    lines: list[Line] = []
    for row in comparison.failed:
        cells = (row.label, row.seed, row.fold, row.failure or "see its log")
        lines.append(((*cells, row.run_id), [*map(Shown, cells), Shown(row.run_id, code=True)]))
    return grid("Failed runs", ("method", "seed", "fold", "failure", "run"), lines)
