"""What the table of a paper holds: cells with means and deviations, what is marked by the primary test, and notes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from mcr_bench.bench.analysis.claimed import Claims
from mcr_bench.bench.analysis.claims import leading
from mcr_bench.bench.analysis.compared import LOWER_IS_BETTER, SHARES, Comparison
from mcr_bench.bench.analysis.table import summarise
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.words import decimal, number_of

if TYPE_CHECKING:
    from mcr_bench.methods.base import Method

ROLES = ("unimodal", "reference", "ensemble", "method")


@dataclass(frozen=True)
class Cell:
    """What one method reaches on one dataset.

    mean, sd: over the runs, times 100 where the metric is a share; sd is None for a single run.
    bold: whether the primary test sets it in bold type.
    best: whether no other mean of the column is better.
    n: the number of runs.
    """

    mean: float
    sd: float | None
    bold: bool
    best: bool
    n: int

    def text(self, digits: int, sign: str) -> str:
        """The mean with `digits` decimals, and with its deviation after `sign` if there is one.

        >>> Cell(86.04, 1.38, False, False, 7).text(1, "±")
        '86.0 ± 1.4'
        """
        mean = decimal(self.mean, digits)
        return mean if self.sd is None else f"{mean} {sign} {decimal(self.sd, digits)}"


@dataclass(frozen=True)
class Line:
    """A row of the table.

    label: the label of its runs, which is the method's name where it has no settings of its own.
    title: how the table calls it.
    role: of its method.
    method: its class; None where it is not installed here.
    """

    label: str
    title: str
    role: str
    method: "type[Method] | None"


@dataclass(frozen=True)
class Column:
    """One comparison.

    title: how the table calls it: the dataset, with whatever tells it from other columns.
    metric: the metric of its cells.
    cells: label -> cell.
    notes: what a reader must know of it.
    """

    title: str
    metric: str
    cells: Mapping[str, Cell]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class PaperTable:
    """The table of a paper.

    lines: its rows, simple baselines first.
    columns: its columns.
    caption: what the numbers are, in one or two sentences.
    """

    lines: tuple[Line, ...]
    columns: tuple[Column, ...]
    caption: str

    @property
    def notes(self) -> list[str]:
        """The notes of all columns, each after the column's title; and which methods have no title and no citation."""
        notes = [f"{column.title}: {note}" for column in self.columns for note in column.notes]
        if unknown_here := [line.title for line in self.lines if line.method is None]:
            notes.append(
                f"{', '.join(unknown_here)}: no title and no citation, as only those of registered methods are known; "
                "add them, or install the method as a package (docs/methods.md)"
            )
        return notes


def paper_table(
    comparisons: Sequence[Comparison],
    answers: Sequence[Claims | str],
    methods: Sequence[str] | None = None,
    metric: str | None = None,
) -> PaperTable:
    """The table of these comparisons, each of which is a column.

    answers: the claims of each comparison by this metric, or why it has none. methods: the methods of the rows, in this
    order; without it all that have a cell, except unimodal ones, simple baselines first. metric: that of the cells;
    without it each protocol's own. UserError for a method or metric that no comparison has.
    """
    known = {label: runs for one in comparisons for label, runs in one.lines.items()}
    wanted = _chosen({label: runs[0].method for label, runs in known.items()}, methods)
    lines = tuple(_line(label, known[label][0].method, known[label][0].role) for label in wanted)
    if methods is None:
        filled = {label for one in comparisons for label in one.lines if _values(one, label, metric or one.metric, 1.0)}
        kept = [one for one in lines if one.role != "unimodal" and one.label in filled]
        lines = tuple(sorted(kept, key=lambda one: (ROLES.index(one.role), one.title.lower())))
    titles = _titles(comparisons)
    columns = [
        _column(title, one, answer, metric or one.metric, [line.label for line in lines])
        for title, one, answer in zip(titles, comparisons, answers, strict=True)
    ]
    made = tuple(column for column in columns if column.cells)
    if metric is not None and not made:
        raise unknown("metric on record", metric, {name for one in comparisons for name in _metrics(one)})
    return PaperTable(lines, made, _caption(made))


def _chosen(labels: Mapping[str, str], methods: Sequence[str] | None) -> list[str]:
    """The labels of these methods, in their order; all of them without any."""
    for name in methods or ():
        if name not in labels.values() and name not in labels:
            raise unknown("method on record", name, {*labels, *labels.values()})
    if methods is None:
        return list(labels)
    return [label for name in methods for label, method in labels.items() if name in (method, label)]


def _line(label: str, method: str, role: str) -> Line:
    cls = registry.method(method) if method in registry.method_names() else None
    title = cls.title if cls is not None and cls.title else method
    return Line(label, title + label.removeprefix(method), role, cls)


def _titles(comparisons: Sequence[Comparison]) -> list[str]:
    """The dataset of every comparison; with protocol, preset, modalities or settings where these tell columns apart."""
    titles = [_dataset(one.dataset) for one in comparisons]
    for more in (
        lambda one: one.protocol,
        lambda one: f"preset {one.preset}",
        lambda one: " + ".join(one.modalities),
        lambda one: " ".join(one.shared_names),
        lambda one: one.data,
    ):
        if len(set(titles)) == len(titles):
            break
        parts = [more(one) for one in comparisons]
        titles = [
            f"{title}, {part}" if titles.count(title) > 1 and part else title
            for title, part in zip(titles, parts, strict=True)
        ]
    return titles


def _dataset(name: str) -> str:
    if name not in registry.dataset_names():
        return name
    return registry.dataset(name).card.title.partition(":")[0].partition(" (")[0]


def _column(title: str, one: Comparison, answer: Claims | str, metric: str, labels: Sequence[str]) -> Column:
    scale = 100.0 if metric in SHARES else 1.0
    values = {label: _values(one, label, metric, scale) for label in labels if label in one.lines}
    made = {label: summarise(of_line) for label, of_line in values.items() if of_line}
    sign = -1 if metric in LOWER_IS_BETTER else 1
    top = max((sign * mean for mean, _, _ in made.values()), default=0.0)
    bold, rule = (set[str](), f"no bold type: {answer}") if isinstance(answer, str) else leading(answer)
    cells = {label: Cell(mean, sd, label in bold, sign * mean == top, n) for label, (mean, sd, n) in made.items()}
    counts = sorted({n for _, _, n in made.values()})
    most = number_of(counts[-1] if counts else 0, "run")
    runs = f"{counts[0]} to {most}" if len(counts) > 1 else most
    fewer = [f"{label} ({n})" for label, (_, _, n) in made.items() if n < counts[-1]]
    reasons = dict(one.skipped) | dict.fromkeys(values, f"no finite test {metric} on record")
    absent: dict[str, list[str]] = {}
    for label in labels:
        if label not in cells:
            absent.setdefault(reasons.get(label, "not on record"), []).append(label)
    return Column(
        title,
        metric,
        cells,
        (
            f"protocol {one.protocol}, preset {one.preset}, {runs} per method (one per seed and fold)",
            rule,
            *([f"fewer runs, so that means cannot be compared as they stand: {', '.join(fewer)}"] if fewer else []),
            *(f"no result of {', '.join(without)}: {reason}" for reason, without in absent.items()),
        ),
    )


def _values(one: Comparison, label: str, metric: str, scale: float) -> list[float]:
    runs = one.lines[label]
    every = [row.value if metric == one.metric else row.metrics.get(f"test/{metric}") for row in runs]
    return [scale * value for value in every if value is not None and isfinite(value)]


def _metrics(one: Comparison) -> set[str]:
    names = {name for row in one.rows for name in row.metrics}
    return {name.removeprefix("test/") for name in names if name.startswith("test/") and name.count("/") == 1}


def _caption(columns: Sequence[Column]) -> str:
    if not columns:
        raise UserError("there is no finished run for a table. Train some first: mcr-bench run.")
    metrics = dict.fromkeys(column.metric for column in columns)
    unit = {name: " in %" if name in SHARES else "" for name in metrics}
    down = {name: ", lower is better" if name in LOWER_IS_BETTER else "" for name in metrics}
    what = "; ".join(f"{name.replace('_', ' ')}{unit[name]}{down[name]}" for name in metrics)
    return (
        f"Test {what}: mean and sample standard deviation (n - 1) over runs, one per seed and fold. Bold: by the "
        "primary test of each column (notes); underlined: the best mean."
    )
