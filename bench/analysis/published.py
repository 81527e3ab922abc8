"""Published numbers: the CSV files of results/published, and beside each a TOML file that maps its names to ours."""

import csv
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, TypeVar, cast

from mcr_bench.bench.errors import UserError, unknown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


@dataclass(frozen=True)
class Number:
    """One published value, as in its CSV file: mean and std in points, n runs; None where the source states none."""

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
    """What of ours a published column stands beside. subset: the dataset has more modalities than these.

    settings: `--set` texts; metric: a name of bench/problem/metrics.py; seeds: text of `--seeds`, empty = the preset's.
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
    """A published column, named as in the CSV, and ours beside it, or the reason why there is none."""

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
    """A published method's name and our method with its `--set` texts, or the reason why there is none.

    modality: for a method of one modality, its name, or its place (from 1) among the column's.
    """

    title: str
    method: str = ""
    modality: str | int = ""
    settings: tuple[str, ...] = ()
    not_offered: str = ""
    not_comparable: str = ""


@dataclass(frozen=True)
class PublishedTable:
    """A published table: methods and columns in its order, numbers by (method title, column title).

    ddof: of the published std, None where the source states none. Every number of the source's table is in it.
    """

    title: str
    notes: tuple[str, ...]
    ddof: int | None
    columns: tuple[Column, ...]
    methods: tuple[PublishedMethod, ...]
    numbers: dict[tuple[str, str], Number]


def published_tables_of(folder: Traversable | None = None) -> list[PublishedTable]:
    """Every table of every `NAME.csv` + `NAME.toml` in `folder` (default: those of the package), by file name.

    UserError naming file and entry where the two do not fit: an unknown or missing key, a published name that is not
    mapped, mapped twice, or mapped without being published.
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
    numbers = numbers_of((place / f"{stem}.csv").read_text(encoding="utf-8"))
    file = f"{stem}.toml"
    try:
        mapping = tomllib.loads((place / file).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{file} is not valid TOML: {error}.") from error
    _check_keys(mapping, ("ddof", "tables", "methods"), file)
    methods = [_method(file, title, _table_in(values)) for title, values in _table_in(mapping.get("methods")).items()]
    tables = [_table_in(table) for table in _list_in(mapping.get("tables"))]
    _check_used(file, "table", [str(t.get("name", "")) for t in tables], {n.table for n in numbers})
    _check_used(file, "method", [m.title for m in methods], {n.method for n in numbers})
    return [_table(file, t, methods, [n for n in numbers if n.table == t["name"]], mapping.get("ddof")) for t in tables]


def _table_in(value: object) -> Mapping[str, object]:
    """A table of TOML; empty where there is none."""
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
    """A dataclass of a TOML table; arrays become tuples."""
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
    """Each published name mapped once, and nothing mapped that is not published."""
    for name in sorted({*mapped, *published}):
        if mapped.count(name) > 1:
            raise UserError(f"{where}: {kind} '{name}' is mapped twice.")
        if name not in mapped:
            raise UserError(f"{where}: {kind} '{name}' is published but not mapped.")
        if name not in published:
            raise UserError(f"{where}: {kind} '{name}' is mapped but not published.")
