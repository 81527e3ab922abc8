"""Write a record as one HTML file."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.floors import with_floors
from mcr_bench.bench.analysis.ranking import rank_datasets
from mcr_bench.bench.analysis.sweeps import sweep_table, sweeps
from mcr_bench.bench.analysis.table import Table
from mcr_bench.bench.commands.choosing import chosen
from mcr_bench.bench.commands.drawing import figures_of, pictures_of
from mcr_bench.bench.commands.output import say
from mcr_bench.bench.commands.reading import claims_or_why, finished_comparisons, left_out, published_of
from mcr_bench.bench.core.guard import attempt
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.report.html.contents import Contents, Section, environment_of
from mcr_bench.bench.report.html.page import write_report
from mcr_bench.bench.report.published_table import MARGIN
from mcr_bench.bench.tuning.budget import budget_curves

T = TypeVar("T")


def write_html_report(
    record: Record, dataset: str | None, baseline: str, cost_baseline: str, path: Path, published: str = "mine"
) -> Path:
    """Write the report of a record; a part that fails is left out, with a line on the page and on stderr.

    published: `all` published tables, or `mine`: those with a column on the data of the report.
    """
    rows, lost = record.rows(), list[str]()
    comparisons = with_floors(
        finished_comparisons(chosen(rows, dataset), cost_baseline, left_out(record)), record.floors
    )
    pictures = partial(figures_of, comparisons, record, baseline, cost_baseline)
    contents = Contents(
        sections=[
            Section(*pair) for pair in zip(comparisons, claims_or_why(comparisons, record, baseline), strict=True)
        ],
        cost_baseline=cost_baseline,
        pictures=_part("figures", lambda: list(pictures_of(pictures())), [], lost),
        published=_part("published numbers", partial(published_of, rows, comparisons, published, MARGIN), [], lost),
        sweeps=_part("sweeps", partial(_sweep_tables, comparisons, baseline), [], lost),
        ranks=attempt(partial(rank_datasets, comparisons), str),
        budgets=attempt(partial(budget_curves, record.home), str),
        environment=_part(
            "environment", lambda: environment_of([row for one in comparisons for row in one.rows]), {}, lost
        ),
        record=record.address,
        left_out=[*(one.note for one in record.unreadable), *record.lost, *lost],
    )
    for line in lost:
        say(line, err=True)
    return write_report(contents, path)


def _part(name: str, make: Callable[[], T], instead: T, lost: list[str]) -> T:
    """The result of `make`; if it fails, `instead`, and a line is added to `lost`."""

    def note(reason: str) -> T:
        lost.append(f"left out: {name}: {reason}")
        return instead

    return attempt(make, note)


def _sweep_tables(comparisons: list[Comparison], baseline: str) -> list[Table]:
    return [sweep_table(sweep, baseline) for sweep in sweeps(comparisons)]
