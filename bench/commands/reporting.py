"""Gathering a record into one HTML file."""

from pathlib import Path

from mcr_bench.bench.commands.drawing import figures_of
from mcr_bench.bench.commands.reading import chosen, claims_or_none, told
from mcr_bench.bench.report.html.contents import Contents, Section, environment_of
from mcr_bench.bench.report.html.page import write_report
from mcr_bench.bench.report.html.pictures import pictures_of
from mcr_bench.bench.report.lines import comparisons
from mcr_bench.bench.report.published_table import published_tables
from mcr_bench.bench.report.ranking import rank_datasets
from mcr_bench.bench.report.sweeps import sweep_table, sweeps
from mcr_bench.bench.tracking import Record
from mcr_bench.bench.tuning.budget import budget_curves


def write_html_report(record: Record, dataset: str | None, baseline: str, cost_baseline: str, path: Path) -> Path:
    """The report of the record; published numbers stand beside all of its runs, whatever `dataset` says."""
    rows = record.rows()
    found = told(record, comparisons(chosen(rows, dataset), cost_baseline))
    known = {id(one.comparison): one for one in claims_or_none(found, record, baseline)}
    without = f"no run of {baseline} to compare with"
    contents = Contents(
        sections=[Section(one, known.get(id(one), without)) for one in found],
        cost_baseline=cost_baseline,
        pictures=list(pictures_of(figures_of(found, record, baseline, cost_baseline))),
        published=published_tables(rows),
        sweeps=[sweep_table(sweep, baseline) for sweep in sweeps(found)],
        ranks=rank_datasets(found),
        budgets=budget_curves(record.home),
        environment=environment_of([row for one in found for row in one.rows]),
        record=record.uri,
    )
    return write_report(contents, path)
