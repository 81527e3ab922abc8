"""What a page says across comparisons: ranks, published numbers, tuning budgets, environment."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mcr_bench.bench.analysis.comparisons import modalities_of
from mcr_bench.bench.analysis.ranking import rank_table
from mcr_bench.bench.analysis.table import Cell, Table
from mcr_bench.bench.report.html.contents import Contents, Environment
from mcr_bench.bench.report.html.markup import Markup, fold, join, left_out, tag
from mcr_bench.bench.report.html.runs import runs_id
from mcr_bench.bench.report.html.tables import Link, grid, notes_of, table_markup

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


def ranks_markup(ranks: "Ranks | str") -> Markup:
    """Mean ranks with what tests them, or why there are none."""
    reason = ranks if isinstance(ranks, str) else "" if ranks.mean_ranks else ranks.reason
    if isinstance(ranks, str) or reason:
        return tag("p", f"No ranks: {reason}.")
    table = rank_table(ranks)
    return join([tag("p", table.title, class_="hint"), table_markup(table, table.title), notes_of(table)])


def sweeps_markup(sweeps: Sequence[Table]) -> Markup:
    """Every table along the dials of a dataset that were swept."""
    return join((tag("section", tag("h3", t.title), table_markup(t, t.title), notes_of(t)) for t in sweeps), "\n")


def published_markup(contents: Contents) -> Markup:
    """Every published table; where our runs stand beside a number, its line leads to them."""
    places = _places(contents)
    shown = []
    for i, table in enumerate(contents.published):
        body = join([table_markup(table, table.title, _to_runs(table, places)), notes_of(table)])
        single = OURS[0] in table.columns  # a line per number: far wider than paper
        shown.append(
            fold(table.title, body, open=len(table.rows) <= SHORT and not single, id=f"p{i}", class_="screen" * single)
        )
    return join(shown, "\n")


def budgets_markup(curves: "pd.DataFrame | str | None") -> Markup:
    """Per search the expected best validation value at some budgets, and the value before tuning; or why not."""
    if isinstance(curves, str):
        return left_out("tuning budgets", curves)
    if curves is None or curves.empty:
        return tag("p", "Nothing has been tuned.")
    searches: dict[tuple[str, str], dict[str, Curve]] = {}
    for row in curves.to_dict("records"):
        place = f"{row['dataset']} · {row['modalities']} · protocol {row['protocol']} · preset {row['preset']}"
        methods = searches.setdefault((place, row["metric"]), {})
        methods.setdefault(row["method"], {})[row["budget"]] = (row["expected"], row["untuned"])
    return join((_search(place, metric, methods) for (place, metric), methods in searches.items()), "\n")


def environment_markup(environment: Environment) -> Markup:
    """Name, value and number of runs."""
    lines = [
        ((name, value, count), (name, tag("code", value), count))
        for name, values in environment.items()
        for value, count in values.items()
    ]
    return grid("Environment", ("what", "value", "runs"), lines)


def _places(contents: Contents) -> dict[Place, str]:
    """Where the runs of a dataset, protocol, preset, set of modalities, method and settings stand; the newest data."""
    found: dict[Place, str] = {}
    for i, section in sorted(enumerate(contents.sections), key=lambda pair: pair[1].comparison.older):
        for j, runs in enumerate(section.comparison.lines.values()):
            row = runs[0]
            names = (row["dataset"], row["protocol"], row["preset"], " + ".join(sorted(modalities_of(row))))
            settings = " ".join(sorted(row["tags"].get("overrides", "").split())) or None
            found.setdefault((*names, row["method"], settings), runs_id(f"c{i}", j))
    return found


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


def _search(title: str, metric: str, methods: Mapping[str, Curve]) -> Markup:
    most = max(max(curve) for curve in methods.values())
    budgets = [n for n in BUDGETS if n < most] + [most]
    rows = [
        (name, curve[min(curve)][1], *(curve[n][0] if n in curve else None for n in budgets))
        for name, curve in methods.items()
    ]
    columns = ("method", "before tuning", *(f"best of {n}" for n in budgets))
    notes = [f"validation {metric}: of the preset's own settings, and expected best of n random draws"]
    table = Table(title, columns, (0, *[4] * (len(columns) - 1)), rows, notes)
    return tag("section", tag("h3", title), table_markup(table, title), notes_of(table))


def datasets_of(contents: Contents) -> dict[str, Sequence[int]]:
    """Dataset -> the numbers of its sections."""
    found: dict[str, list[int]] = {}
    for i, section in enumerate(contents.sections):
        found.setdefault(section.comparison.dataset, []).append(i)
    return dict(found)
