"""Write the tables of a record, and the tables and figures of an experiment."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.floors import with_floors
from mcr_bench.bench.analysis.table import Table
from mcr_bench.bench.analysis.why.tables import ENCODERS
from mcr_bench.bench.commands.choosing import chosen
from mcr_bench.bench.commands.console import SafeConsole
from mcr_bench.bench.commands.output import say
from mcr_bench.bench.commands.reading import finished_comparisons, left_out, tables_of
from mcr_bench.bench.commands.written import forget_outdated, output_folder, writing
from mcr_bench.bench.planning.experiment import Experiment
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.report.export import write_tables
from mcr_bench.bench.report.published_table import MARGIN, check_margin
from mcr_bench.bench.report.terminal import print_tables
from mcr_bench.bench.words import number_of


def write_record_tables(
    record: Record, dataset: str | None, baseline: str, cost_baseline: str, margin: float, published: str
) -> bool:
    """Write all tables of a record to HOME/tables, and print those of our runs and encoders; whether there was a run.

    published: `all` published tables, or `mine`: those with a column on our data.
    """
    check_margin(margin)
    rows = record.rows()
    comparisons = with_floors(
        finished_comparisons(chosen(rows, dataset), cost_baseline, left_out(record)), record.floors
    )
    tables = tables_of(comparisons, rows, record, baseline, cost_baseline, margin, published=published)
    print_tables(SafeConsole(), [*tables["methods"], *(one for one in tables["why"] if one.title.endswith(ENCODERS))])
    folder = output_folder(record.home) / "tables"
    written = _write((table for kind in tables.values() for table in kind), folder)
    say_outdated(forget_outdated(folder, written, everything=dataset is None))
    return bool(comparisons)


def write_output(experiment: Experiment, rows: list[RunRow], record: Record, baseline: str, cost_baseline: str) -> None:
    """Write the tables and figures of an experiment, of its own runs, to HOME/experiments/NAME."""
    folder = output_folder(record.home) / "experiments" / Path(experiment.name).stem
    output = experiment.output
    baseline = output.baseline or baseline
    comparisons = with_floors(finished_comparisons(rows, cost_baseline, left_out(record)), record.floors)
    named = [named_by_points(one, experiment) for one in comparisons]
    written: list[Path] = []
    if output.tables:
        tables = tables_of(named, record.rows(), record, baseline, cost_baseline, MARGIN, output.tables)
        written += _write((table for kind in tables.values() for table in kind), folder, err=True)
    if output.figures:
        from mcr_bench.bench.commands.drawing import figures_of, save_figures

        figures = save_figures(figures_of(named, record, baseline, cost_baseline, output.figures), folder)
        for path in figures:
            say(path, err=True)
        written += figures
    say_outdated(forget_outdated(folder, written, everything=True))


def named_by_points(comparison: Comparison, experiment: Experiment) -> Comparison:
    """The comparison with its lines named after the experiment's points, if its runs have two points or more.

    Settings of a line that are not the point's are kept in its name: "METHOD: POINT [METHOD.key=value]".
    """
    points = {label: experiment.point_of(runs[0]) for label, runs in comparison.lines.items()}
    if len({point.name for point in points.values() if point}) < 2:
        return comparison
    lines = {}
    for label, runs in comparison.lines.items():
        point, name = points[label], label
        if point is not None:
            rest = [text for text in comparison.own_settings(label) if text.partition("=")[0] not in point.settings]
            name = " ".join([f"{label.partition(' [')[0]}: {point.name}", *([f"[{' '.join(rest)}]"] if rest else [])])
        lines[name if name not in lines else label] = [replace(row, label=name) for row in runs]
    return replace(comparison, lines=lines)


def say_outdated(paths: list[Path]) -> None:
    """Print how many files of earlier calls were removed."""
    if paths:
        say(f"removed {number_of(len(paths), 'outdated file')} from {paths[0].parent}", err=True)


def _write(tables: Iterable[Table], folder: Path, err: bool = False) -> list[Path]:
    """Write each table, and print its name with its formats on one line; returns the files."""
    stems: dict[Path, list[str]] = {}
    with writing(folder):
        written = write_tables(list(tables), folder)
    for path in written:
        stems.setdefault(path.with_suffix(""), []).append(path.suffix.removeprefix("."))
    for stem, formats in stems.items():
        say(f"{stem}.{{{','.join(formats)}}}", err=err)
    return written
