"""The work of `publish`: runs of records, homes and archives become a site."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from mcr_bench.bench.analysis.claimed import ALPHA, Claims
from mcr_bench.bench.analysis.claims import baseline_of, claims
from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.floors import with_floors
from mcr_bench.bench.analysis.ranking import rank_datasets
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.commands.drawing import pictures_of
from mcr_bench.bench.commands.output import open_record, progress, say
from mcr_bench.bench.commands.reading import check_baseline, finished_comparisons
from mcr_bench.bench.commands.written import forget_outdated, output_folder, writing
from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.core.guard import attempt
from mcr_bench.bench.core.home import default_home
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.exchange.opened import opened
from mcr_bench.bench.exchange.origins import OfRecord, Origin, home_at
from mcr_bench.bench.figures.catalog import Sources, all_figures
from mcr_bench.bench.publish.gathered import Gathered
from mcr_bench.bench.publish.here import Data
from mcr_bench.bench.publish.site.contents import Contents, Entry
from mcr_bench.bench.publish.site.pages import site_pages
from mcr_bench.bench.record.database.patience import Patience
from mcr_bench.bench.report.html.contents import Picture

FIGURES = ("pareto", "forest", "ranks")


def publish(
    places: Sequence[Path],
    tracking_uri: str | None,
    output: Path | None,
    baseline: str,
    cost_baseline: str,
    most_gib: float,
) -> list[Path]:
    """Write the site of these homes and archives, or of the record where there are none; returns its pages."""
    if places and tracking_uri is not None:
        raise UserError("--tracking-uri names the record, and homes or archives are given. Leave one of them out.")
    with ExitStack() as stack:
        gathered = Gathered(Path(stack.enter_context(TemporaryDirectory())), Data(Path("data")).acting)
        for name, origin in _origins(stack, places, tracking_uri, most_gib).items():
            gathered.add(name, origin, progress(name))
        pages = site_pages(_contents(gathered, baseline, cost_baseline))
    folder = output or output_folder(default_home()) / "site"
    for line in gathered.left_out:
        say(f"left out: {line}", err=True)
    with writing(folder, "--output" if output else ""):
        for name, text in pages.items():
            write_whole(folder / name, text)
    written = [folder / name for name in pages]
    forget_outdated(folder, written, everything=True)
    return written


def _origins(stack: ExitStack, places: Sequence[Path], tracking_uri: str | None, most_gib: float) -> dict[str, Origin]:
    """How pages call it -> each home or archive; folders of one name get numbers."""
    if not places:
        return {"this record": OfRecord(open_record(tracking_uri))}
    origins: dict[str, Origin] = {}
    for place in places:
        opening: AbstractContextManager[Origin] = (
            home_at(place, Patience(partial(say, err=True))) if place.is_dir() else opened(place, most_gib)
        )
        name = place.resolve().name
        same = sum(one == name or one.startswith(f"{name} (") for one in origins)
        origins[f"{name} ({same + 1})" if same else name] = stack.enter_context(opening)
    return origins


def _contents(gathered: Gathered, baseline: str, cost_baseline: str) -> Contents:
    known = with_floors(finished_comparisons(gathered.rows, cost_baseline), gathered.floors)
    check_baseline(known, baseline)
    sources = Sources(cost_baseline=cost_baseline, order=registry.method_names(), baseline=baseline)
    return Contents(
        entries=[Entry(one, _claims(one, baseline, gathered)) for one in known],
        cost_baseline=cost_baseline,
        sources=gathered.sources,
        origins=gathered.origins,
        pictures=attempt(lambda: list(pictures_of(all_figures(known, sources, FIGURES))), _without_figures),
        ranks=attempt(partial(rank_datasets, known), str),
        left_out=gathered.left_out,
    )


def _claims(comparison: Comparison, baseline: str, gathered: Gathered) -> Claims | str:
    line = baseline_of(comparison, baseline)
    if line is None:
        return f"no finished run of {baseline} to compare with; give another --baseline"
    make: Callable[[], Claims | str] = partial(claims, comparison, line, None, ALPHA, gathered.samples)
    return attempt(make, "statistics are left out: {}".format)


def _without_figures(reason: str) -> list[Picture]:
    say(f"left out: figures: {reason}", err=True)
    return []
