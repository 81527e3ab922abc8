"""The report of a record: one HTML page that needs nothing but itself."""

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.core.guard import attempt
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.report.html.across import (
    budgets_markup,
    datasets_of,
    environment_markup,
    published_markup,
    ranks_markup,
    sweeps_markup,
)
from mcr_bench.bench.report.html.comparison import section_markup, words
from mcr_bench.bench.report.html.contents import Contents, Picture
from mcr_bench.bench.report.html.markup import part, render
from mcr_bench.bench.report.html.pictures import gallery


@dataclass(frozen=True)
class OnPage:
    """A comparison on the page.

    anchor: its anchor, with which the ids of everything inside begin.
    title: its title.
    short: its title without the dataset.
    words: its results in words, for the summary.
    body: its part of the page.
    """

    anchor: str
    title: str
    short: str
    words: Markup
    body: Markup


@dataclass(frozen=True)
class OfDataset:
    """The comparisons on a dataset.

    name: the name of the dataset.
    sections: the comparisons.
    """

    name: str
    sections: Sequence[OnPage]


@dataclass(frozen=True)
class End:
    """A part of the page after the comparisons.

    anchor: its anchor.
    title: its title.
    body: its content.
    """

    anchor: str
    title: str
    body: Markup


def report_page(contents: Contents) -> str:
    """The page as text: the same contents give the same bytes."""
    script = _asset("page.js")
    pictures, across = _by_section(contents)
    sections = [_on_page(contents, pictures[n], n) for n in range(len(contents.sections))]
    return render(
        "page",
        style=_asset("page.css"),
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        facts=_facts(contents),
        record=contents.record,
        more_facts=list(contents.facts.items()),
        summary=sections,
        datasets=[OfDataset(name, [sections[n] for n in numbers]) for name, numbers in datasets_of(contents).items()],
        ends=_ends(contents, across),
    )


def write_report(contents: Contents, path: Path) -> Path:
    """Write the page to `path`; UserError if it cannot be written."""
    try:
        write_whole(path, report_page(contents))
    except OSError as error:
        raise UserError(
            f"the report '{path}' cannot be written: {error}. Name a file in a folder you may write to."
        ) from error
    return path


def _asset(name: str) -> Markup:
    return Markup((files(__package__) / name).read_text(encoding="utf-8"))


def _by_section(contents: Contents) -> tuple[list[list[Picture]], list[Picture]]:
    """The figures of each section, and those of none. Of two sections with one title the figures come in turn."""
    places: dict[str, list[int]] = {}
    for i, section in enumerate(contents.sections):
        places.setdefault(section.comparison.title, []).append(i)
    pictures: list[list[Picture]] = [[] for _ in contents.sections]
    across, seen = [], Counter[tuple[str, str]]()
    for one in contents.pictures:
        where, kind = places.get(one.about, []), (one.name, one.about)
        if seen[kind] < len(where):
            pictures[where[seen[kind]]].append(one)
        else:
            across.append(one)
        seen[kind] += 1
    return pictures, across


def _short(contents: Contents, number: int) -> str:
    """The title of a section without its dataset."""
    comparison = contents.sections[number].comparison
    return comparison.title.removeprefix(f"{comparison.dataset} · ")


def _facts(contents: Contents) -> list[tuple[str, object]]:
    """The head of the page: name -> value; empty ones are not shown."""
    rows, shown = contents.rows, [one.comparison for one in contents.sections]
    newest = max(rows, key=lambda row: row.order, default=None)
    return [
        ("Runs", len(rows)),
        ("Datasets", len(datasets_of(contents))),
        ("Methods", len({row.method for row in rows})),
        ("Comparisons", len(shown)),
        ("Failed runs", sum(len(comparison.failed) for comparison in shown) or ""),
        ("Older runs left out", sum(comparison.replaced for comparison in shown) or ""),
        ("Newest run", "" if newest is None else f"{datetime.fromtimestamp(newest.started, UTC):%Y-%m-%d %H:%M} UTC"),
    ]


def _on_page(contents: Contents, pictures: Sequence[Picture], number: int) -> OnPage:
    section, anchor = contents.sections[number], f"c{number}"
    title = section.comparison.title
    make = partial(section_markup, section, pictures, contents.cost_baseline, anchor)
    body = attempt(make, lambda reason: render("comparison_left_out", anchor=anchor, name=title, reason=reason))
    told = part("the result in words", partial(words, section.claims))
    return OnPage(anchor, title, _short(contents, number), told, body)


def _ends(contents: Contents, pictures: Sequence[Picture]) -> list[End]:
    ends: list[tuple[str, str, Callable[[], Markup]]] = [
        ("across", "Across comparisons", partial(_across, contents, pictures)),
        ("published", "Published numbers", partial(published_markup, contents)),
        ("budgets", "Tuning budgets", partial(budgets_markup, contents.budgets)),
        ("environment", "Environment", partial(environment_markup, contents.environment)),
    ]
    shown = [end for end in ends if end[0] != "published" or contents.published]
    return [End(anchor, title, part(title, make)) for anchor, title, make in shown]


def _across(contents: Contents, pictures: Sequence[Picture]) -> Markup:
    return render(
        "across",
        left_out=contents.left_out,
        ranks=part("ranks", partial(ranks_markup, contents.ranks)),
        sweeps=part("sweeps", partial(sweeps_markup, contents.sweeps)),
        figures=gallery(pictures, "across-f", named=True),
    )
