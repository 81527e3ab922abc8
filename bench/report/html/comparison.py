"""A comparison on the page: its results in words, tables, protocol card, figures, settings and runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite

from markupsafe import Markup

from mcr_bench.bench.analysis.claimed import Against, Claims, Power
from mcr_bench.bench.analysis.claims import cannot, leading
from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.sizes import split_sizes
from mcr_bench.bench.analysis.table import Table, comparison_table, protocol_notes
from mcr_bench.bench.analysis.why.tables import QUESTIONS, why_tables
from mcr_bench.bench.report.claim_tables import claim_tables, command, power_lines, remedy
from mcr_bench.bench.report.html.contents import Picture, Section
from mcr_bench.bench.report.html.markup import part, render
from mcr_bench.bench.report.html.pictures import gallery
from mcr_bench.bench.report.html.runs import lines_markup, runs_id, settings_id
from mcr_bench.bench.report.html.tables import Link, table_markup

OPTIMISER = "optimiser: "


def section_markup(section: Section, pictures: Sequence[Picture], cost_baseline: str, name: str) -> Markup:
    """The whole part of the page. name: its anchor, which begins the ids of everything inside."""
    comparison = section.comparison
    return render(
        "comparison",
        anchor=name,
        title=comparison.title,
        words=part("the result in words", partial(words, section.claims)),
        table=part("table", partial(_table, section, cost_baseline, name)),
        protocol=part("protocol", partial(protocol_card, comparison)),
        statistics=part("statistics", partial(_statistics, section.claims, name)),
        why=part("why", partial(_why, comparison, cost_baseline, name)),
        has_figures=bool(pictures),
        figures=gallery(pictures, f"{name}-f"),
        runs=len(comparison.rows),
        lines=part("runs and settings", partial(lines_markup, comparison, name)),
    )


def _table(section: Section, cost_baseline: str, name: str) -> Markup:
    comparison = section.comparison
    table = comparison_table(comparison, cost_baseline, lambda _: _leading(section.claims))
    links = line_links(comparison, list(comparison.lines), name)
    return render(
        "comparison_table", table=table_markup(table, comparison.title, links, leave_out=protocol_notes(comparison))
    )


@dataclass(frozen=True)
class Titled:
    """A table under a title of its own.

    title: its title.
    table: the table.
    """

    title: str
    table: Markup


def _why(comparison: Comparison, cost_baseline: str, name: str) -> Markup:
    """The tables of diagnostics, the one of encoders open and the others on demand."""
    tables = [_named(comparison, table, name) for table in why_tables(comparison, cost_baseline)]
    return render("why", tables=tables)


def _named(comparison: Comparison, table: Table, name: str) -> Titled:
    """A table of diagnostics; the first cell of a row names its line."""
    question = next(text for end, text in QUESTIONS.items() if table.title.endswith(end))
    links = line_links(comparison, [str(row[0]) for row in table.rows], name)
    return Titled(question, table_markup(table, table.title, links))


@dataclass(frozen=True)
class Words:
    """A comparison in words: one of the first three fields, or the groups.

    missing: why there are no statistics.
    power: the lines of a design whose power is unknown.
    cannot: why the design cannot show anything.
    remedy: what to do then, in words; empty if there is a command.
    command: the command that trains enough runs.
    groups: (better, worse or not separated; the methods with their differences).
    """

    missing: str = ""
    power: Sequence[str] = ()
    cannot: str = ""
    remedy: str = ""
    command: str = ""
    groups: Sequence[tuple[str, str]] = ()


def words(claims: Claims | str) -> Markup:
    """The results of the primary test against the baseline, or why there are none and the command that gives some."""
    return render("words", said=_said(claims))


def _said(claims: Claims | str) -> Words:
    if isinstance(claims, str):
        return Words(missing=claims)
    if claims.power is None:
        return Words(power=power_lines(claims))
    if claims.power.reachable:
        return Words(groups=_groups(claims, claims.power))
    if claims.comparison.older:
        return Words(cannot=cannot(claims), remedy=remedy(claims))
    return Words(cannot=cannot(claims), command=command(claims.comparison, claims.power.needed))


def _groups(claims: Claims, power: Power) -> list[tuple[str, str]]:
    neither = [one for one in claims.against if one.label in claims.neither]
    groups = (
        (f"Better than {claims.baseline}", [one for one in claims.against if one.label in claims.better]),
        (f"Worse than {claims.baseline}", [one for one in claims.against if one.label in claims.worse]),
        (f"Not separated from {claims.baseline}", neither),
    )
    entries = [(name, _differences(claims, group) or "none") for name, group in groups]
    if claims.untested:
        few = ", ".join(f"{label} ({pairs} pairs)" for label, pairs in sorted(claims.untested.items()))
        entries.append(("Not tested, too few pairs", few))
    if isfinite(power.detectable):
        size = f"a difference of {power.detectable:.2g} {claims.unit} (median over methods)"
        entries.append(("Found with 80 % power", size))
    return entries


def line_links(comparison: Comparison, labels: Sequence[str], name: str) -> Link:
    """Of a table with a row per label: the first cell leads to the line's settings, the others to its runs."""
    places = {label: i for i, label in enumerate(comparison.lines)}

    def link(row: int, column: int) -> str | None:
        place = places.get(labels[row]) if row < len(labels) else None  # below the lines stands the floor
        return None if place is None else (runs_id if column else settings_id)(name, place)

    return link


def protocol_card(comparison: Comparison) -> Markup:
    """What is shared by all runs of a comparison, and what they were trained and tested on."""
    origins = dict.fromkeys((row.preset, row.preset_origin) for row in comparison.rows)
    seeds, folds = {row.seed for row in comparison.rows}, {row.fold for row in comparison.rows}
    optimisers = [n.removeprefix(OPTIMISER) for n in protocol_notes(comparison) if n.startswith(OPTIMISER)]
    entries = [
        ("Dataset", _once([comparison.dataset, *(row.dataset_source for row in comparison.rows)])),
        ("Modalities", _once([", ".join(comparison.modalities)])),
        ("Protocol", _once(row.protocol_card or comparison.protocol for row in comparison.rows)),
        ("Metric", _once([comparison.metric])),
        ("Samples", _once(split_sizes(comparison.rows))),
        ("Folds", _once([_numbers(folds)])),
        ("Seeds", _once([_numbers(seeds)])),
        ("Preset", _once(f"{preset}, origin: {origin}" if origin else preset for preset, origin in origins)),
        ("Shared settings", _once(comparison.shared)),
        ("Optimiser", _once(optimisers)),
        ("Data fingerprint", _once(row.fingerprint for row in comparison.rows)),
    ]
    asked = command(comparison, len(seeds)) if comparison.rows and not comparison.older else ""
    return render("card", entries=entries, command=asked)


def _leading(claims: Claims | str) -> tuple[set[str], str]:
    return (set(), f"no bold type: {claims}") if isinstance(claims, str) else leading(claims)


def _differences(claims: Claims, group: Sequence[Against]) -> str:
    """The labels with their differences, the best first; nothing where there are none."""
    if not group:
        return ""
    digits = 2 if claims.scale == 100 else 4
    ordered = sorted(group, key=lambda one: -claims.sign * one.paired.difference)
    listed = ", ".join(f"{one.label} ({one.paired.difference:+.{digits}f})" for one in ordered)
    return f"{listed}, in {claims.unit}"


def _statistics(claims: Claims | str, name: str) -> Markup:
    """The primary test open, the secondary ones and all pairs on demand."""
    if isinstance(claims, str) or not claims.against:
        return Markup()
    compared = [one.label for one in claims.against]
    every = [claims.baseline, *compared]
    rows = (every, compared, every)
    tests = [_test(claims, table, labels, name) for table, labels in zip(claim_tables(claims), rows, strict=True)]
    return render("statistics", primary=tests[0], others=tests[1:])


def _test(claims: Claims, table: Table, labels: Sequence[str], name: str) -> Titled:
    links = line_links(claims.comparison, labels, name)
    return Titled(_short(claims, table), table_markup(table, table.title, links))


def _short(claims: Claims, table: Table) -> str:
    text = table.title.removeprefix(claims.comparison.title).removeprefix(" · ")
    return text[:1].upper() + text[1:]


def _once(texts: Iterable[str]) -> list[str]:
    """Each text once, without empty ones."""
    return list(dict.fromkeys(text for text in texts if text))


def _numbers(values: set[int]) -> str:
    """0 to 9, or every one."""
    ordered = sorted(values)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]} to {ordered[-1]} ({len(ordered)})"
    return ", ".join(map(str, ordered))
