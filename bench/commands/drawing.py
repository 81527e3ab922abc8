"""Draw the figures of a record, for files or for the report."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.commands.output import say
from mcr_bench.bench.commands.written import writing
from mcr_bench.bench.core.guard import attempt
from mcr_bench.bench.errors import unknown
from mcr_bench.bench.figures.catalog import CARDS, Drawn, Sources, all_figures
from mcr_bench.bench.figures.style import render, rendered, write_files
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.report.html.contents import Picture
from mcr_bench.bench.tuning.budget import budget_curves

LARGEST = 400_000  # bytes of an SVG; above, a PNG is smaller and opens faster
DPI = 150  # of such a PNG


def figures_of(
    comparisons: Sequence[Comparison],
    record: Record,
    baseline: str | None,
    cost_baseline: str,
    only: Sequence[str] = (),
) -> Iterable[Drawn]:
    """All figures, or those named in `only`; for a figure that cannot be drawn the reason."""
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
    return all_figures(comparisons, sources, only)


def save_figures(drawn: Iterable[Drawn], folder: Path) -> list[Path]:
    """Write the figures, and print the reasons of those that are left out; returns the files."""
    written = []
    for one in drawn:
        files = one.result if isinstance(one.result, str) else attempt(partial(rendered, one.result), str)
        if isinstance(files, str):
            say(f"left out: {one.card.name} of {one.about}: {files}", err=True)
        else:
            with writing(folder):
                written += write_files(files, folder, one.stem)
    return written


def pictures_of(drawn: Iterable[Drawn], largest: int = LARGEST) -> Iterator[Picture]:
    """The figures for a page: SVG, or PNG if the SVG has more than `largest` bytes; one figure is open at a time."""

    def image_of(figure: Figure) -> bytes:
        image = render(figure, "svg")
        return render(figure, "png", DPI) if len(image) > largest else image

    for _, result, card, about in drawn:
        if isinstance(result, str):
            yield Picture(card.name, card.title, card.shows, about, result)
        else:
            image: bytes | str = attempt(partial(image_of, result), str)
            yield Picture(card.name, card.title, card.shows, about, image, float(result.get_size_inches()[0]))
