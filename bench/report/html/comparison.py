"""One comparison on the page: what it says in words, its tables, protocol card, figures, settings and runs."""

from collections.abc import Iterable, Sequence
from functools import partial
from math import isfinite

from mcr_bench.bench.analysis.claimed import Against, Claims
from mcr_bench.bench.analysis.claims import cannot, leading
from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.sizes import split_sizes
from mcr_bench.bench.analysis.table import Table, comparison_table, protocol_notes
from mcr_bench.bench.report.claim_tables import claim_tables, command, power_lines, remedy
from mcr_bench.bench.report.html.contents import Picture, Section
from mcr_bench.bench.report.html.markup import Markup, definitions, fold, items, join, part, tag
from mcr_bench.bench.report.html.pictures import gallery
from mcr_bench.bench.report.html.runs import lines_markup, runs_id, settings_id
from mcr_bench.bench.report.html.tables import Link, notes_of, table_markup

OPTIMISER = "optimiser: "
SHOWN_COMMANDS = 3


def section_markup(section: Section, pictures: Sequence[Picture], cost_baseline: str, name: str) -> Markup:
    """The whole part of the page. name: its anchor, which begins the ids of everything inside."""
    found = section.comparison
    lines = part("runs and settings", partial(lines_markup, found, name))
    return tag(
        "section",
        tag("h3", found.title),
        part("the result in words", partial(words, section.claims)),
        part("table", partial(_table, section, cost_baseline, name)),
        tag("h4", "Protocol"),
        part("protocol", partial(protocol_card, found)),
        part("statistics", partial(_statistics, section.claims, name)),
        tag("h4", "Figures") if pictures else Markup(),
        gallery(pictures, f"{name}-f"),
        fold(tag("h4", f"Runs and settings of every line ({len(found.rows)} runs)"), lines, id=f"{name}-lines"),
        id=name,
        class_="comparison",
    )


def _table(section: Section, cost_baseline: str, name: str) -> Markup:
    found = section.comparison
    table = comparison_table(found, cost_baseline, lambda _: _leading(section.claims))
    return join(
        [
            tag("p", "A method leads to its settings, a number to the runs behind it.", class_="hint screen"),
            table_markup(table, found.title, line_links(found, list(found.lines), name)),
            notes_of(table, leave_out=protocol_notes(found)),
        ]
    )


def words(found: Claims | str) -> Markup:
    """What the primary test says against the baseline, or why it cannot say and the command that would mend it."""
    if isinstance(found, str):
        return tag("p", f"No statistics: {found}.", class_="words")
    if found.power is None:
        return items(power_lines(found), class_="words")
    if not found.power.reachable:
        return tag(
            "div",
            tag("p", f"This design cannot say: {cannot(found)}."),
            _remedy(found, found.power.needed),
            class_="words",
        )
    neither = [one for one in found.against if one.label in found.neither]
    groups = (
        (f"Better than {found.baseline}", [one for one in found.against if one.label in found.better]),
        (f"Worse than {found.baseline}", [one for one in found.against if one.label in found.worse]),
        (f"Not separated from {found.baseline}", neither),
    )
    entries = [(name, _differences(found, group) or "none") for name, group in groups]
    if found.untested:
        few = ", ".join(f"{label} ({pairs} pairs)" for label, pairs in sorted(found.untested.items()))
        entries.append(("Not tested, too few pairs", few))
    if isfinite(found.power.detectable):
        size = f"a difference of {found.power.detectable:.2g} {found.unit} (median over methods)"
        entries.append(("Found with 80 % power", size))
    return definitions(entries, class_="words")


def _remedy(found: Claims, needed: int) -> Markup:
    if found.comparison.older:
        return tag("p", f"To get there: {remedy(found)}.")
    text = command(found.comparison, needed)
    return _commands(text, tag("pre", tag("code", text)))


def line_links(found: Comparison, labels: Sequence[str], name: str) -> Link:
    """Of a table with a row per label: the first cell leads to the line's settings, the others to its runs."""
    places = {label: i for i, label in enumerate(found.lines)}

    def link(row: int, column: int) -> str | None:
        place = places.get(labels[row]) if row < len(labels) else None  # below the lines stands the floor
        return None if place is None else (runs_id if column else settings_id)(name, place)

    return link


def protocol_card(found: Comparison) -> Markup:
    """What is shared by all runs of a comparison, and what they were trained and tested on."""
    tags = [row["tags"] for row in found.rows]
    origins = dict.fromkeys((row["preset"], row["tags"].get("preset_origin", "")) for row in found.rows)
    seeds, folds = ({row[what] for row in found.rows} for what in ("seed", "fold"))
    optimisers = [n.removeprefix(OPTIMISER) for n in protocol_notes(found) if n.startswith(OPTIMISER)]
    entries: list[tuple[object, object]] = [
        ("Dataset", _listed([found.dataset, *(t.get("dataset_source", "") for t in tags)])),
        ("Modalities", ", ".join(found.modalities)),
        ("Protocol", _listed(t.get("protocol_card") or found.protocol for t in tags)),
        ("Metric", found.metric),
        ("Samples", _listed(split_sizes(found.rows))),
        ("Folds", _numbers(folds)),
        ("Seeds", _numbers(seeds)),
        ("Preset", _listed(f"{preset}, origin: {origin}" if origin else preset for preset, origin in origins)),
        ("Shared settings", _listed(found.shared)),
        ("Optimiser", _listed(optimisers)),
        ("Data fingerprint", _listed(t.get("fingerprint", "") for t in tags)),
    ]
    if found.rows and not found.older:
        text = command(found, len(seeds))
        entries.append(("Command", _commands(text, tag("code", text))))
    return definitions(entries, class_="card")


def _leading(found: Claims | str) -> tuple[set[str], str]:
    return (set(), f"no bold type: {found}") if isinstance(found, str) else leading(found)


def _commands(text: str, shown: Markup) -> Markup:
    """Every line of a grid needs a command of its own: many of them open on demand."""
    count = len(text.splitlines())
    return fold(f"{count} commands", shown) if count > SHOWN_COMMANDS else shown


def _differences(found: Claims, group: Sequence[Against]) -> str:
    """The labels with their differences, the best first."""
    digits = 2 if found.scale == 100 else 4
    ordered = sorted(group, key=lambda one: -found.sign * one.paired.difference)
    listed = ", ".join(f"{one.label} ({one.paired.difference:+.{digits}f})" for one in ordered)
    return f"{listed}, in {found.unit}" * bool(ordered)


def _statistics(found: Claims | str, name: str) -> Markup:
    """The primary test open, the secondary ones and all pairs on demand."""
    if isinstance(found, str) or not found.against:
        return Markup()
    primary, *others = claim_tables(found)
    labels = [found.baseline, *(one.label for one in found.against)]
    shown = [_test(found, primary, labels, name)]
    rows = ([one.label for one in found.against], labels)
    shown += [
        fold(_short(found, table), _test(found, table, names, name, heading=False))
        for table, names in zip(others, rows, strict=True)
    ]
    return join([tag("h4", "Statistics"), *shown], "\n")


def _test(found: Claims, table: Table, labels: Sequence[str], name: str, heading: bool = True) -> Markup:
    title = tag("h5", _short(found, table)) if heading else Markup()
    body = table_markup(table, table.title, line_links(found.comparison, labels, name))
    return join([title, body, notes_of(table)])


def _short(found: Claims, table: Table) -> str:
    text = table.title.removeprefix(found.comparison.title).removeprefix(" · ")
    return text[:1].upper() + text[1:]


def _listed(texts: Iterable[str]) -> object:
    """Each text once; nothing where there are none."""
    found = list(dict.fromkeys(text for text in texts if text))
    return found[0] if len(found) == 1 else items(found)


def _numbers(values: set[int]) -> str:
    """0 to 9, or every one."""
    ordered = sorted(values)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]} to {ordered[-1]} ({len(ordered)})"
    return ", ".join(map(str, ordered))
