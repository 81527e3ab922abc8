"""The parts of a page across comparisons: ranks, published numbers, tuning budgets, environment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from mcr_bench.bench.analysis.ranking import rank_table
from mcr_bench.bench.analysis.table import Cell, Table
from mcr_bench.bench.report.html.contents import Contents, Environment
from mcr_bench.bench.report.html.markup import left_out, render
from mcr_bench.bench.report.html.runs import runs_id
from mcr_bench.bench.report.html.tables import Link, Shown, grid, table_markup

if TYPE_CHECKING:
    import pandas as pd

    from mcr_bench.bench.statistics.ranks import Ranks

# The columns of a published table with a line per number that say which of our runs stand beside it.
OURS = ("our dataset", "our protocol", "our preset", "our modalities", "our method", "our settings")
COUNT = "n"
LEADING = (*OURS, "ours", COUNT)
SHORT = 16  # rows of a published table that is open from the start
BUDGETS = (1, 2, 5, 10, 20, 50, 100, 200)

Place = tuple[Cell, ...]
Curve = dict[int, tuple[float, float]]  # budget -> expected best, before tuning


@dataclass(frozen=True)
class Published:
    """A published table on the page.

    title: its title.
    open: whether it is shown unfolded.
    single: whether it has a line per number, and so is much wider than paper.
    table: the table.
    """

    title: str
    open: bool
    single: bool
    table: Markup


def ranks_markup(ranks: "Ranks | str") -> Markup:
    """Mean ranks with what tests them, or why there are none."""
    if isinstance(ranks, str) or not ranks.mean_ranks:
        return render("ranks", missing=ranks if isinstance(ranks, str) else ranks.reason)
    table = rank_table(ranks)
    return render("ranks", missing="", title=table.title, table=table_markup(table, table.title))


def sweeps_markup(sweeps: Sequence[Table]) -> Markup:
    """Every table along the dials of a dataset that were swept."""
    return render("titled_tables", tables=[(table.title, table_markup(table, table.title)) for table in sweeps])


def published_markup(contents: Contents) -> Markup:
    """Every published table; where our runs stand beside a number, its line leads to them."""
    places = _places(contents)
    return render("published", tables=[_published(table, places) for table in contents.published])


def _published(table: Table, places: Mapping[Place, str]) -> Published:
    single = OURS[0] in table.columns
    body = table_markup(table, table.title, _to_runs(table, places))
    return Published(table.title, len(table.rows) <= SHORT and not single, single, body)


def budgets_markup(curves: "pd.DataFrame | str | None") -> Markup:
    """Per search the expected best validation value at some budgets, and the value before tuning; or why not."""
    if isinstance(curves, str):
        return left_out("tuning budgets", curves)
    if curves is None or curves.empty:
        return render("nothing_tuned")
    searches: dict[tuple[str, str], dict[str, Curve]] = {}
    for row in curves.to_dict("records"):
        place = f"{row['dataset']} · {row['modalities']} · protocol {row['protocol']} · preset {row['preset']}"
        methods = searches.setdefault((place, row["metric"]), {})
        methods.setdefault(row["method"], {})[row["budget"]] = (row["expected"], row["untuned"])
    tables = [_search(place, metric, methods) for (place, metric), methods in searches.items()]
    return render("titled_tables", tables=[(table.title, table_markup(table, table.title)) for table in tables])


def environment_markup(environment: Environment) -> Markup:
    """Name, value and number of runs."""
    lines = [
        ((name, value, count), (Shown(name), Shown(value, code=True), Shown(count)))
        for name, values in environment.items()
        for value, count in values.items()
    ]
    return grid("Environment", ("what", "value", "runs"), lines)


def _places(contents: Contents) -> dict[Place, str]:
    """Where the runs of a dataset, protocol, preset, set of modalities, method and settings stand; the newest data."""
    places: dict[Place, str] = {}
    for i, section in sorted(enumerate(contents.sections), key=lambda pair: pair[1].comparison.older):
        for j, runs in enumerate(section.comparison.lines.values()):
            row = runs[0]
            names = (row.dataset, row.protocol, row.preset, " + ".join(sorted(row.modalities)))
            settings = " ".join(sorted(row.asked_settings)) or None
            places.setdefault((*names, row.method, settings), runs_id(f"c{i}", j))
    return places


def _to_runs(table: Table, places: Mapping[Place, str]) -> Link | None:
    if not {*OURS, COUNT} <= set(table.columns):
        return None
    *ours, settings = (table.columns.index(name) for name in OURS)
    count = table.columns.index(COUNT)

    def link(row: int, column: int) -> str | None:
        cells = table.rows[row]
        if cells[count] is None or table.columns[column] not in LEADING:
            return None
        words = " ".join(sorted(str(cells[settings] or "").split())) or None
        return places.get((*(cells[i] for i in ours), words))

    return link


def _search(title: str, metric: str, methods: Mapping[str, Curve]) -> Table:
    most = max(max(curve) for curve in methods.values())
    budgets = [n for n in BUDGETS if n < most] + [most]
    rows = [
        (name, curve[min(curve)][1], *(curve[n][0] if n in curve else None for n in budgets))
        for name, curve in methods.items()
    ]
    columns = ("method", "before tuning", *(f"best of {n}" for n in budgets))
    notes = [f"validation {metric}: of the preset's own settings, and expected best of n random draws"]
    return Table(title, columns, (0, *[4] * (len(columns) - 1)), rows, notes)


def datasets_of(contents: Contents) -> dict[str, Sequence[int]]:
    """Dataset -> the numbers of its sections."""
    datasets: dict[str, list[int]] = {}
    for i, section in enumerate(contents.sections):
        datasets.setdefault(section.comparison.dataset, []).append(i)
    return dict(datasets)
