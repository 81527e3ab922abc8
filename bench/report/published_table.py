"""Published numbers with ours: for each published table one table in its layout, and one with a line per number."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from importlib.resources.abc import Traversable

from mcr_bench.bench.analysis.published import Number, PublishedTable, published_tables_of
from mcr_bench.bench.analysis.published_match import LEVEL, NOT_COMPARABLE, Answer, Runs, Target, answers, command
from mcr_bench.bench.analysis.table import Cell, Table
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.statistics.intervals import Interval

Place = tuple[str, str]
Answers = dict[Place, Answer]

LONG = (
    *("source", "table", "dataset", "backbone", "modalities", "method", "metric", "published", "published std"),
    *("published n", "our dataset", "our protocol", "our preset", "our modalities", "our method", "our settings"),
    *("ours", "low", "high", "n", "difference", "difference low", "difference high", "verdict", "reason", "command"),
)
MARGIN = 2.0


def published_tables(
    rows: Iterable[RunRow],
    margin: float = MARGIN,
    datasets: Collection[str] | None = None,
    folder: Traversable | None = None,
) -> list[Table]:
    """For each published table two: published, ours and verdict in its layout, and the same with one line per number.

    Tables with runs of ours come first. UserError if a mapping does not match its numbers.

    rows: the rows of the record; there may be none.
    margin: the margin of the verdict `reproduced`, in points.
    datasets: only tables with a column on one of these are given; None for all.
    folder: the folder of the published numbers; without it that of the package.
    """
    check_margin(margin)
    runs = Runs(rows)
    tables = [table for table in published_tables_of(folder) if datasets is None or _on(table) & set(datasets)]
    given = [(table, answers(table, runs, margin)) for table in tables]
    given.sort(key=lambda pair: not any(answer.values for answer in pair[1].values()))
    return [made for table, of in given for made in (_wide(table, of, margin), _long(table, of, margin))]


def check_margin(margin: float) -> None:
    """UserError for a margin that is not positive."""
    if margin <= 0:
        raise UserError(f"--margin {margin:g}: not allowed. Give a positive number of points.")


def _on(table: PublishedTable) -> set[str]:
    """The datasets of ours that the columns of a table are on."""
    return {column.ours.dataset for column in table.columns if column.ours is not None}


def _wide(table: PublishedTable, given: Answers, margin: float) -> Table:
    """The table in the source's layout: per method the lines `published`, `ours` (if there are runs) and `verdict`."""
    numbers = table.numbers.values()
    digits = max(_decimals(number.mean) for number in numbers)
    spread = max((_decimals(number.std) for number in numbers if number.std is not None), default=0)
    cells: list[tuple[Cell, ...]] = []
    for method in table.methods:
        places = [(method.title, column.title) for column in table.columns]
        cells.append((method.title, "published", *(_published(table.numbers.get(p), digits, spread) for p in places)))
        if any(given[p].values for p in places if p in given):
            cells.append((method.title, "ours", *(_ours(given.get(p), digits) for p in places)))
        cells.append((method.title, "verdict", *(given[p].word if p in given else None for p in places)))
    columns = ("method", "line", *(column.title for column in table.columns))
    return Table(table.title, columns, (0,) * len(columns), cells, _notes(table, given, margin))


def _long(table: PublishedTable, given: Answers, margin: float) -> Table:
    lines = [_line(number, given[place]) for place, number in table.numbers.items()]
    digits = tuple(0 if name == "published n" else 2 for name in LONG)
    notes = [*_explanations(table, margin), *_samples(given)]
    return Table(f"{table.title}, one line per number", LONG, digits, lines, notes)


def _line(number: Number, answer: Answer) -> tuple[Cell, ...]:
    n = len(answer.values) or None
    published = (number.mean, number.std, number.n_runs)
    names = (number.source, number.table, number.dataset, number.backbone or None, number.modalities)
    return (
        *(*names, number.method, number.metric, *published, *_target(answer.target)),
        *(sum(answer.values) / n if n else None, *_ends(answer.interval), n),
        *(answer.delta, *_ends(answer.delta_interval)),
        *(answer.word, "; ".join(answer.reasons) or None, answer.command or None),
    )


def _target(target: Target | None) -> tuple[Cell, ...]:
    if target is None:
        return (None,) * 6
    place = target.place
    modalities, settings = " + ".join(sorted(target.modalities)), " ".join(target.settings) or None
    return place.dataset, place.protocol, place.preset, modalities, target.method, settings


def _ends(interval: Interval | None) -> tuple[Cell, Cell]:
    return (None, None) if interval is None or interval.refused else (interval.low, interval.high)


def _published(number: Number | None, digits: int, spread: int) -> Cell:
    if number is None:
        return None
    return f"{number.mean:.{digits}f}" + ("" if number.std is None else f" ± {number.std:.{spread}f}")


def _ours(answer: Answer | None, digits: int) -> Cell:
    if answer is None or not answer.values:
        return None
    low, high = _ends(answer.interval)
    ends = "" if low is None else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{sum(answer.values) / len(answer.values):.{digits}f}{ends} n={len(answer.values)}"


def _decimals(value: float) -> int:
    return len(str(value).partition(".")[2])


def _notes(table: PublishedTable, given: Answers, margin: float) -> list[str]:
    return [*_explanations(table, margin), *_samples(given), *_reasons(table, given), *_commands(given)]


def _samples(given: Answers) -> list[str]:
    """Notes on the sizes of the parts that our runs used, one per column."""
    sizes: dict[str, dict[str, None]] = {}
    for (_, column), answer in given.items():
        sizes.setdefault(column, {}).update(dict.fromkeys(answer.samples))
    return [f"split sizes of our runs, {column}: {'; '.join(known)}" for column, known in sizes.items() if known]


def _explanations(table: PublishedTable, margin: float) -> list[str]:
    level = f"{100 * LEVEL:g} %"
    kinds = {0: "population standard deviation (ddof 0)", 1: "sample standard deviation (ddof 1)"}
    notes = []
    spread = any(number.std is not None for number in table.numbers.values())
    if table.ddof is not None and spread:
        runs = ", ".join(map(str, sorted({number.n_runs for number in table.numbers.values() if number.n_runs})))
        converted = "; as a sample standard deviation, std × sqrt(n / (n - 1)), in the verdict"
        more = converted if table.ddof == 0 else ""
        notes.append(f"±: {kinds[table.ddof]} over n = {runs} runs, as published{more}")
    notes.append(f"ours: mean of n runs with its {level} t interval")
    uncertain = (
        "with the published uncertainty" if table.ddof is not None and spread else "the published value taken as exact"
    )
    notes.append(
        f"verdict: on the {level} interval of the difference ours - published, {uncertain}: "
        f"reproduced = inside ±{margin:g} points, lower / higher = without 0 and not inside, else inconclusive"
    )
    return [*notes, *table.notes]


def _reasons(table: PublishedTable, given: Answers) -> list[str]:
    """Notes with each reason once, and the cells for which it holds."""
    where: dict[tuple[str, str], list[Place]] = {}
    for place, answer in given.items():
        for reason in answer.reasons:
            where.setdefault((answer.word, reason), []).append(place)
    return [f"{word}: {reason} ({_where(places, table)})" for (word, reason), places in where.items()] + [
        f"{NOT_COMPARABLE}, also once there are runs: {reason} ({', '.join(columns)})"
        for reason, columns in _declared(table, given).items()
    ]


def _declared(table: PublishedTable, given: Answers) -> dict[str, list[str]]:
    """Notes with the reasons of columns whose cells do not have them, because nothing in the column is offered."""
    said = {reason for answer in given.values() for reason in answer.reasons}
    columns: dict[str, list[str]] = {}
    for column in table.columns:
        if column.not_comparable and column.not_comparable not in said:
            columns.setdefault(column.not_comparable, []).append(column.title)
    return columns


def _where(places: list[Place], table: PublishedTable) -> str:
    """The cells in words: whole columns or rows by their names, otherwise both, in the table's order."""
    columns = [column.title for column in table.columns if any(column.title == p[1] for p in places)]
    if len(places) == sum(place[1] in columns for place in table.numbers):
        return ", ".join(columns)
    methods = [method.title for method in table.methods if any(method.title == p[0] for p in places)]
    if len(places) == sum(place[0] in methods for place in table.numbers):
        return ", ".join(methods)
    return "; ".join(f"{c}: {', '.join(m for m in methods if (m, c) in places)}" for c in columns)


def _commands(given: Answers) -> list[str]:
    """The commands that train missing runs, each with all the cells that it fills."""
    groups: dict[tuple[object, ...], list[Target]] = {}
    for answer in given.values():
        if answer.target and not answer.values:
            place = replace(answer.target.place, metric="")  # one run gives every metric
            groups.setdefault((place, answer.target.settings), []).append(answer.target)
    return [f"to fill what has no runs: {command(targets)}" for targets in groups.values()]
