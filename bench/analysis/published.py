"""Published numbers: the CSV files of results/published, each with a TOML file that maps its names to ours."""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, TypeVar, cast

from mcr_bench.bench.core.inputs.texts import toml_of
from mcr_bench.bench.errors import UserError, in_words, unknown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


@dataclass(frozen=True)
class Number:
    """A published value, as in its CSV file.

    source: the publication that states it.
    arxiv_id: the arXiv number of that publication.
    table: the name of its table.
    dataset: the dataset, as the source names it.
    backbone: the network.
    modalities: the modalities, as the source names them.
    method: the method, as the source names it.
    metric: the metric.
    mean: the mean, in points.
    std: the standard deviation, in points; None if the source states none.
    n_runs: the number of runs; None if the source does not state it.
    """

    source: str
    arxiv_id: str
    table: str
    dataset: str
    backbone: str
    modalities: str
    method: str
    metric: str
    mean: float
    std: float | None
    n_runs: int | None


@dataclass(frozen=True)
class Ours:
    """The runs of ours that a published column is compared with.

    dataset: the name of the dataset.
    protocol: the protocol.
    preset: the preset.
    metric: the metric, a name of bench/problem/metrics.py.
    modalities: the modalities.
    subset: whether the dataset has more modalities than these.
    settings: the texts of `--set`.
    seeds: the text of `--seeds`; empty for the preset's seeds.
    """

    dataset: str
    protocol: str
    preset: str
    metric: str
    modalities: tuple[str, ...]
    subset: bool = False
    settings: tuple[str, ...] = ()
    seeds: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a published table.

    title: its title in our tables.
    dataset: the dataset, as in the CSV.
    backbone: the network, as in the CSV.
    modalities: every text of the CSV's column `modalities` that belongs here.
    metric: the metric, as in the CSV.
    ours: the runs of ours that it is compared with; None if there are none.
    not_offered: why there are none.
    not_comparable: why our runs cannot be compared; empty if they can.
    """

    title: str
    dataset: str
    backbone: str
    modalities: tuple[str, ...]
    metric: str
    ours: Ours | None = None
    not_offered: str = ""
    not_comparable: str = ""


@dataclass(frozen=True)
class PublishedMethod:
    """A method of a published table.

    title: its published name.
    method: the name of our method.
    modality: for a method of one modality, its name, or its number (from 1) among the column's modalities.
    settings: the texts of `--set`.
    not_offered: why we do not have the method.
    not_comparable: why our runs cannot be compared; empty if they can.
    """

    title: str
    method: str = ""
    modality: str | int = ""
    settings: tuple[str, ...] = ()
    not_offered: str = ""
    not_comparable: str = ""


@dataclass(frozen=True)
class PublishedTable:
    """A published table, with all of its numbers.

    title: its title.
    notes: notes that are printed below it.
    ddof: the degrees of freedom of the published std: 0 or 1; None if the source states no std.
    columns: its columns in the source's order.
    methods: its methods in the source's order.
    numbers: (title of the method, title of the column) -> the published value.
    """

    title: str
    notes: tuple[str, ...]
    ddof: int | None
    columns: tuple[Column, ...]
    methods: tuple[PublishedMethod, ...]
    numbers: dict[tuple[str, str], Number]


def published_tables_of(folder: Traversable | None = None) -> list[PublishedTable]:
    """All tables of the pairs of `NAME.csv` and `NAME.toml` in `folder`, or of the package, in the order of names.

    UserError, with file and entry, if the two do not match: a key is unknown or missing, or a name is published but not
    mapped, mapped twice, or mapped but not published.
    """
    place = folder or resources.files("mcr_bench.results") / "published"
    names = sorted(p.name for p in place.iterdir())
    stems = {name.removesuffix(suffix) for suffix in (".csv", ".toml") for name in names if name.endswith(suffix)}
    for stem in sorted(stems):
        for name in (f"{stem}.csv", f"{stem}.toml"):
            if name not in names:
                raise UserError(f"published numbers: '{name}' is missing beside the other file of '{stem}'.")
    return [table for stem in sorted(stems) for table in _source(place, stem)]


def numbers_of(text: str) -> list[Number]:
    """The rows of a CSV file of published numbers."""
    return [
        Number(**{f.name: row[f.name] for f in fields(Number)[:8]}, mean=float(row["mean"]), std=_number(row["std"]),
               n_runs=None if not row["n_runs"] else int(float(row["n_runs"])))
        for row in csv.DictReader(text.splitlines())
    ]  # fmt: skip


def _number(text: str) -> float | None:
    return float(text) if text else None


def _source(place: Traversable, stem: str) -> list[PublishedTable]:
    try:
        numbers = numbers_of((place / f"{stem}.csv").read_text(encoding="utf-8"))
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{stem}.csv is not a table of published numbers ({in_words(error)}).") from error
    file = f"{stem}.toml"
    try:
        mapping = toml_of((place / file).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is not valid TOML: {error}.") from error
    _check_keys(mapping, ("ddof", "tables", "methods"), file)
    methods = [_method(file, title, _table_in(values)) for title, values in _table_in(mapping.get("methods")).items()]
    tables = [_table_in(table) for table in _list_in(mapping.get("tables"))]
    _check_used(file, "table", [str(t.get("name", "")) for t in tables], {n.table for n in numbers})
    _check_used(file, "method", [m.title for m in methods], {n.method for n in numbers})
    return [_table(file, t, methods, [n for n in numbers if n.table == t["name"]], mapping.get("ddof")) for t in tables]


def _table_in(value: object) -> Mapping[str, object]:
    """`value` if it is a table of TOML; otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def _list_in(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _table(
    file: str, values: Mapping[str, object], methods: list[PublishedMethod], numbers: list[Number], ddof: int | None
) -> PublishedTable:
    name = str(values["name"])
    where = f"{file}, table '{name}'"
    _check_keys(values, ("name", "title", "notes", "columns"), where)
    columns = [_column(where, _table_in(column)) for column in _list_in(values.get("columns"))]
    titles = {m.title: m for m in methods}
    cells: dict[tuple[str, str], Number] = {}
    for number in numbers:
        place = (number.method, _column_of(where, columns, number).title)
        if place in cells:
            raise UserError(f"{where}: two numbers fall into the cell {place}; make columns of them.")
        cells[place] = number
    _check_used(where, "column", [c.title for c in columns], {title for _, title in cells})
    rows = [titles[name] for name in titles if any(name == method for method, _ in cells)]
    notes = tuple(map(str, _list_in(values.get("notes"))))
    return PublishedTable(str(values.get("title", name)), notes, ddof, tuple(columns), tuple(rows), cells)


def _column_of(where: str, columns: list[Column], number: Number) -> Column:
    mine = (number.dataset, number.backbone, number.metric)
    matching = [c for c in columns if (c.dataset, c.backbone, c.metric) == mine and number.modalities in c.modalities]
    if len(matching) == 1:
        return matching[0]
    text = " / ".join((*mine, number.modalities))
    titles = ", ".join(f"'{c.title}'" for c in matching)
    raise UserError(f"{where}: {text} is mapped twice: {titles}." if matching else f"{where}: no column maps {text}.")


def _column(where: str, values: Mapping[str, object]) -> Column:
    where = f"{where}, column '{values.get('title', '')}'"
    ours = values.get("ours")
    beside = None if ours is None else _make(Ours, _table_in(ours), f"{where}, ours")
    column = _make(Column, {**values, "ours": beside}, where)
    if (column.ours is None) != bool(column.not_offered):
        raise UserError(f"{where}: needs either `ours` or the reason `not_offered`.")
    return column


def _method(file: str, title: str, values: Mapping[str, object]) -> PublishedMethod:
    where = f"{file}, method '{title}'"
    method = _make(PublishedMethod, {**values, "title": title}, where)
    if bool(method.method) == bool(method.not_offered):
        raise UserError(f"{where}: needs either `method` or the reason `not_offered`.")
    return method


def _make(cls: type[T], values: Mapping[str, object], where: str) -> T:
    """A dataclass with the values of a TOML table; arrays become tuples."""
    known, make = fields(cls), cast(Callable[..., T], cls)
    _check_keys(values, [f.name for f in known], where)
    for field in known:
        if field.default is MISSING and field.name not in values:
            raise UserError(f"{where}: key '{field.name}' is missing.")
    return make(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def _check_keys(values: Mapping[str, object], known: Iterable[str], where: str) -> None:
    for key in values:
        if key not in known:
            raise unknown(f"key of {where}:", key, known)


def _check_used(where: str, kind: str, mapped: list[str], published: set[str]) -> None:
    """UserError if a published name is not mapped exactly once, or a mapped name is not published."""
    for name in sorted({*mapped, *published}):
        if mapped.count(name) > 1:
            raise UserError(f"{where}: {kind} '{name}' is mapped twice.")
        if name not in mapped:
            raise UserError(f"{where}: {kind} '{name}' is published but not mapped.")
        if name not in published:
            raise UserError(f"{where}: {kind} '{name}' is mapped but not published.")
