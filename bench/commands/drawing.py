"""Drawing figures of a record."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from mcr_bench.bench import registry
from mcr_bench.bench.commands.output import say
from mcr_bench.bench.commands.written import writing
from mcr_bench.bench.errors import unknown
from mcr_bench.bench.figures.catalog import CARDS, Drawn, Sources, all_figures
from mcr_bench.bench.figures.style import rendered, write_files
from mcr_bench.bench.guard import attempt
from mcr_bench.bench.report.compared import Comparison
from mcr_bench.bench.tracking import Record
from mcr_bench.bench.tuning.budget import budget_curves


def figures_of(
    found: Sequence[Comparison],
    record: Record,
    baseline: str | None,
    cost_baseline: str,
    only: Sequence[str] = (),
) -> Iterable[Drawn]:
    """Every figure, or those named in `only`, with the reasons of those that cannot be drawn."""
    for name in only:
        if name not in CARDS:
            raise unknown("figure", name, CARDS)
    sources = Sources(
        cost_baseline=cost_baseline,
        order=registry.method_names(),
        baseline=baseline,
        history=record.history,
        samples=record.samples,
        budgets=attempt(partial(budget_curves, record.home), str),
    )
    return all_figures(found, sources, only)


def save_figures(drawn: Iterable[Drawn], folder: Path) -> list[Path]:
    """Write the figures, say which were left out and why; returns the files."""
    written = []
    for one in drawn:
        files = one.result if isinstance(one.result, str) else attempt(partial(rendered, one.result), str)
        if isinstance(files, str):
            say(f"left out: {one.card.name} of {one.about}: {files}", err=True)
        else:
            with writing(folder):
                written += write_files(files, folder, one.stem)
    return written
