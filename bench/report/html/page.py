"""The report of a record: one HTML page that needs nothing but itself."""

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files
from pathlib import Path

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
from mcr_bench.bench.report.html.markup import Markup, definitions, items, join, left_out, part, tag
from mcr_bench.bench.report.html.pictures import gallery

ABOUT = (
    "Methods for multimodal training compared on the same data, seeds and batches, with one training loop. Every "
    "number below comes from runs on record and leads to them."
)
RULE = (
    "Decided by the primary test alone: exact two-sided sign-flip over (seed, fold) pairs against the baseline, "
    "corrected after Holm for the methods of the table; in brackets the mean difference."
)


def report_page(contents: Contents) -> str:
    """The page as text: the same contents give the same bytes."""
    style, script = _asset("page.css"), _asset("page.js")
    pictures, across = _by_section(contents)
    body = join(
        [
            tag("a", "To the summary", href="#summary", class_="skip"),
            _navigation(contents),
            tag("main", _header(contents), *_parts(contents, pictures, across)),
            tag("script", Markup(script)),
        ],
        "\n",
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{_policy(script)}\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>mcr-bench report</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def write_report(contents: Contents, path: Path) -> Path:
    """Write the page to `path`, whole or not at all. UserError where it cannot be written."""
    try:
        write_whole(path, report_page(contents))
    except OSError as error:
        raise UserError(
            f"the report '{path}' cannot be written: {error}. Name a file in a folder you may write to."
        ) from error
    return path


def _asset(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """No network at all, and no script but the page's own, whatever a label may hold."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    more = "base-uri 'none'; form-action 'none'"
    return f'<meta http-equiv="Content-Security-Policy" content="{rules}; {more}">'


def _by_section(contents: Contents) -> tuple[list[list[Picture]], list[Picture]]:
    """The figures of each section, and those of none. Of two sections with one title the figures come in turn."""
    places: dict[str, list[int]] = {}
    for i, section in enumerate(contents.sections):
        places.setdefault(section.comparison.title, []).append(i)
    found: list[list[Picture]] = [[] for _ in contents.sections]
    across, seen = [], Counter[tuple[str, str]]()
    for one in contents.pictures:
        where, kind = places.get(one.about, []), (one.name, one.about)
        if seen[kind] < len(where):
            found[where[seen[kind]]].append(one)
        else:
            across.append(one)
        seen[kind] += 1
    return found, across


def _navigation(contents: Contents) -> Markup:
    datasets = [
        join([_to(f"d{i}", dataset), items(_to(f"c{n}", _short(contents, n)) for n in numbers)])
        for i, (dataset, numbers) in enumerate(datasets_of(contents).items())
    ]
    rest = [_to(name, title) for name, title in _ends(contents)]
    return tag("nav", items([_to("summary", "Summary"), *datasets, *rest]), aria_label="Contents")


def _ends(contents: Contents) -> list[tuple[str, str]]:
    """The parts after the comparisons: anchor and title."""
    ends = [("across", "Across comparisons"), ("published", "Published numbers")]
    ends += [("budgets", "Tuning budgets"), ("environment", "Environment")]
    return [end for end in ends if end[0] != "published" or contents.published]


def _to(name: str, title: str) -> Markup:
    return tag("a", title, href=f"#{name}")


def _short(contents: Contents, number: int) -> str:
    """The title of a section without its dataset."""
    found = contents.sections[number].comparison
    return found.title.removeprefix(f"{found.dataset} · ")


def _header(contents: Contents) -> Markup:
    rows, shown = contents.rows, [one.comparison for one in contents.sections]
    newest = max((row["started"] for row in rows), default=None)
    facts: Mapping[str, object] = {
        "Runs": len(rows),
        "Datasets": len(datasets_of(contents)),
        "Methods": len({row["method"] for row in rows}),
        "Comparisons": len(shown),
        "Failed runs": sum(len(found.failed) for found in shown) or "",
        "Older runs left out": sum(found.replaced for found in shown) or "",
        "Newest run": "" if newest is None else f"{datetime.fromtimestamp(newest, UTC):%Y-%m-%d %H:%M} UTC",
        "Record": tag("code", contents.record) if contents.record else "",
        **contents.facts,
    }
    return tag("header", tag("h1", "mcr-bench report"), tag("p", ABOUT), definitions(facts.items(), class_="facts"))


def _parts(contents: Contents, pictures: Sequence[Sequence[Picture]], across: Sequence[Picture]) -> list[Markup]:
    parts = [_summary(contents)]
    for i, (dataset, numbers) in enumerate(datasets_of(contents).items()):
        sections = [_section(contents, pictures[n], n) for n in numbers]
        parts.append(tag("section", tag("h2", dataset), *sections, id=f"d{i}"))
    bodies: dict[str, Callable[[], Markup]] = {
        "across": partial(_across, contents, across),
        "published": partial(published_markup, contents),
        "budgets": partial(budgets_markup, contents.budgets),
        "environment": partial(environment_markup, contents.environment),
    }
    return parts + [
        tag("section", tag("h2", title), part(title, bodies[name]), id=name) for name, title in _ends(contents)
    ]


def _section(contents: Contents, pictures: Sequence[Picture], number: int) -> Markup:
    section = contents.sections[number]
    make = partial(section_markup, section, pictures, contents.cost_baseline, f"c{number}")
    return attempt(make, lambda reason: tag("section", left_out(section.comparison.title, reason), id=f"c{number}"))


def _across(contents: Contents, pictures: Sequence[Picture]) -> Markup:
    return join(
        [
            *(tag("p", line, class_="left-out") for line in contents.left_out),
            *(tag("h3", "Ranks"), part("ranks", partial(ranks_markup, contents.ranks))),
            part("sweeps", partial(sweeps_markup, contents.sweeps)),
            gallery(pictures, "across-f", named=True),
        ]
    )


def _summary(contents: Contents) -> Markup:
    told = [
        tag(
            "section",
            tag("h3", _to(f"c{i}", one.comparison.title)),
            part("the result in words", partial(words, one.claims)),
        )
        for i, one in enumerate(contents.sections)
    ]
    rule = tag("p", RULE) if told else tag("p", "The record has no finished runs yet.")
    return tag("section", tag("h2", "Summary"), rule, *told, id="summary")
