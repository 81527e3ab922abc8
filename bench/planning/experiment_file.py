"""Read and check the text of an experiment file; every error names the file, the line and the key."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeGuard

from mcr_bench.bench.core.inputs.texts import toml_of
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.planning.toml_lines import Place, key_lines

FIGURES = ("methods", "forest", "race", "pareto", "errors", "contribution", "ranks", "sweep", "budget")
TABLES = ("methods", "why", "statistics", "sweeps", "published")


@dataclass(frozen=True)
class Kind:
    """The kind of value that a key takes.

    words: the kind in words, for errors.
    fits: whether a value is of this kind.
    """

    words: str
    fits: Callable[[object], bool]


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_name(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip())


def _list_of(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and bool(value) and all(map(fits, value))


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _are_different(value: object) -> bool:
    return isinstance(value, list) and len({str(one) for one in value}) == len(value)


_is_names, _is_numbers = _list_of(_is_name), _list_of(_is_number)
TEXT = Kind("text", lambda value: isinstance(value, str))
NAME = Kind('a name, as "abc"', _is_name)
NAMES = Kind('a name, or a list of at least one name, as ["a", "b"]', lambda v: _is_name(v) or _is_names(v))
SEEDS = Kind(
    "a number of seeds (5), or a list of at least one seed, all different, as [3, 5, 8]",
    lambda v: (_is_number(v) and v > 0) or (_is_numbers(v) and _are_different(v)),
)
TABLE = Kind("a table of settings", lambda value: isinstance(value, dict))
MANY = Kind("tables in double brackets, at least one", _list_of(TABLE.fits))
BLOCK = {
    "title": TEXT,
    "note": TEXT,
    "methods": NAMES,
    "family": NAMES,
    "datasets": NAMES,
    "modalities": NAMES,
    "protocol": NAME,
    "preset": NAME,
    "seeds": SEEDS,
    "fold": Kind("a whole number >= 0", _is_number),
    "pairs": Kind(
        "a list of at least one [seed, fold], all different", lambda v: _list_of(_is_pair)(v) and _are_different(v)
    ),
    "optional": Kind("true or false", lambda value: isinstance(value, bool)),
    "set": TABLE,
    "sweep": TABLE,
    "points": MANY,
}
WHOLE = BLOCK | {"baseline": NAME, "figures": NAMES, "tables": NAMES, "comparison": MANY}


@dataclass(frozen=True)
class Setting:
    """A setting of the file.

    key: its dotted key.
    values: its values as text.
    line: the line of the file that it is on.
    """

    key: str
    values: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class Point:
    """Settings that vary together.

    name: the name of the point; it may be empty.
    settings: key -> setting.
    line: the line of the file on which it begins.
    """

    name: str
    settings: dict[str, Setting]
    line: int


@dataclass(frozen=True)
class Block:
    """The top of a file, or one of its comparisons.

    line: the line of the file on which it begins.
    plain: the keys that are not settings, with their values from TOML.
    lines: the line of each of these keys.
    fixed: settings with one value.
    sweep: settings whose values are all combined.
    points: settings that vary together.
    """

    line: int
    plain: dict[str, object] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    fixed: dict[str, Setting] = field(default_factory=dict)
    sweep: dict[str, Setting] = field(default_factory=dict)
    points: tuple[Point, ...] = ()

    def text(self, key: str) -> str | None:
        """The value of a plain key if it is text."""
        value = self.plain.get(key)
        return value if isinstance(value, str) else None

    def number(self, key: str) -> int | None:
        """The value of a plain key if it is a whole number."""
        value = self.plain.get(key)
        return value if _is_number(value) else None

    def names(self, key: str) -> list[str]:
        """The names that a plain key lists, or its one name."""
        return [one for one in as_list(self.plain.get(key, [])) if isinstance(one, str)]

    @property
    def seeds(self) -> int | list[int] | None:
        """The number of seeds, or the list of seeds; None if neither is given."""
        value = self.plain.get("seeds")
        return [one for one in value if _is_number(one)] if isinstance(value, list) else self.number("seeds")

    @property
    def pairs(self) -> list[tuple[int, int]] | None:
        """(seed, fold) of every repetition; None if the file has none."""
        value = self.plain.get("pairs")
        return [(seed, fold) for seed, fold in value] if isinstance(value, list) else None


@dataclass(frozen=True)
class Document:
    """The text of a TOML file.

    name: the name of the file in errors.
    text: its text.
    """

    name: str
    text: str

    @cached_property
    def data(self) -> dict[str, object]:
        """The parsed text; UserError with line and column if it is not TOML."""
        try:
            return toml_of(self.text)
        except ValueError as error:
            end = f"at line {len(self.text.splitlines())}, the last"
            what = str(error).replace("at end of document", end)
            raise UserError(f"{self.name}: not valid TOML: {what}.") from error

    @cached_property
    def lines(self) -> dict[Place, int]:
        """The line of each key."""
        return key_lines(self.text)

    def error(self, place: Place, text: object) -> UserError:
        """An error about the key at `place`."""
        key = ".".join(part for part in place if isinstance(part, str))
        return UserError(f"{self.name}, line {self.lines[place]}, '{key}': {text}")


def read_blocks(document: Document) -> tuple[Block, list[Block]]:
    """The top of the file and its comparisons; UserError for unknown keys, wrong types, empty lists and repetitions."""
    top = _block(document, (), document.data, WHOLE)
    for key, known in (("figures", FIGURES), ("tables", TABLES)):
        for number, name in enumerate(top.names(key)):
            if name not in known:
                place: Place = (key, number)
                raise document.error(place if place in document.lines else (key,), unknown(key[:-1], name, known))
    rest = _tables(document.data.get("comparison"))
    return top, [_block(document, ("comparison", i), table, BLOCK) for i, table in enumerate(rest)]


def as_list(value: object) -> list[object]:
    """A list unchanged; any other value in a list of its own."""
    return value if isinstance(value, list) else [value]


def _block(document: Document, place: Place, table: Mapping[str, object], kinds: Mapping[str, Kind]) -> Block:
    for key, value in table.items():
        if key not in kinds:
            raise document.error((*place, key), _misplaced(key, kinds))
        if not kinds[key].fits(value):
            raise document.error((*place, key), f"{_shown(value)} is not allowed. Give {kinds[key].words}.")
    _check_repetitions(document, place, table)
    fixed = {s.key: s for s in _settings(document, (*place, "set"), _table(table.get("set")))}
    sweep = {s.key: s for s in _settings(document, (*place, "sweep"), _table(table.get("sweep")), lists=True)}
    points = tuple(_points(document, (*place, "points"), _tables(table.get("points"))))
    _check_doubles(document, fixed, sweep, points)
    plain = {k: v for k, v in table.items() if k not in ("set", "sweep", "points", "comparison")}
    lines = {k: document.lines[(*place, k)] for k in plain}
    return Block(document.lines.get(place, 1), plain, lines, fixed, sweep, points)


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _tables(value: object) -> list[Mapping[str, object]]:
    return [_table(one) for one in value] if isinstance(value, list) else []


def _misplaced(key: str, kinds: Mapping[str, Kind]) -> str:
    if key in WHOLE:
        return f"'{key}' is allowed only at the top of the file."
    return f"{unknown('key', key, kinds)} Settings of runs, such as `epochs = 5`, belong under [set]."


def _shown(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _check_repetitions(document: Document, place: Place, table: Mapping[str, object]) -> None:
    for key in ("seeds", "fold"):
        if "pairs" in table and key in table:
            raise document.error((*place, "pairs"), f"pairs give the seed and fold of every run. Leave out '{key}'.")


def _settings(document: Document, place: Place, table: Mapping[str, object], lists: bool = False) -> Iterator[Setting]:
    """Each setting of a table, whose keys may be dotted (quoted or not) or stand in tables of their own."""
    for key, value in table.items():
        here = (*place, key)
        if isinstance(value, dict):
            for inner in _settings(document, here, value, lists):
                yield Setting(f"{key}.{inner.key}", inner.values, inner.line)
        else:
            yield Setting(key, _texts(document, here, value, lists), document.lines[here])


def _texts(document: Document, place: Place, value: object, lists: bool) -> tuple[str, ...]:
    if isinstance(value, list) != lists:
        remedy = "Give a list; a single value belongs under [set]." if lists else "Give several values under [sweep]."
        raise document.error(place, f"{_shown(value)} is not allowed. {remedy}")
    if value == []:
        raise document.error(place, "[] is not allowed. Give at least one value.")
    for one in as_list(value):
        if not isinstance(one, bool | int | float | str):
            raise document.error(place, f"{_shown(one)} is not allowed. Give true, false, a number or text.")
    return tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in as_list(value))


def _points(document: Document, place: Place, tables: Iterable[Mapping[str, object]]) -> Iterator[Point]:
    for number, table in enumerate(tables):
        here = (*place, number)
        name = table.get("name", "")
        if "name" in table and not _is_name(name):
            raise document.error((*here, "name"), f"{_shown(name)} is not allowed. Give {NAME.words}.")
        rest = {k: v for k, v in table.items() if k != "name"}
        yield Point(str(name), {s.key: s for s in _settings(document, here, rest)}, document.lines[here])


def _check_doubles(
    document: Document, fixed: Mapping[str, Setting], sweep: Mapping[str, Setting], points: tuple[Point, ...]
) -> None:
    """UserError if a setting is in two places, or two points have the same name or settings."""
    everywhere = [*fixed.values(), *sweep.values()]
    for number, point in enumerate(points):
        for other in points[:number]:
            same = "name" if point.name and point.name == other.name else "settings"
            values = [{k: s.values for k, s in p.settings.items()} for p in (point, other)]
            if same == "name" or values[0] == values[1]:
                text = f"'points': the {same} of this point{f', {point.name!r},' if point.name else ''}"
                raise UserError(f"{document.name}, line {point.line}, {text} are those of line {other.line}.")
    for setting in (*sweep.values(), *(s for p in points for s in p.settings.values())):
        for other_setting in everywhere:
            if other_setting.key == setting.key and other_setting is not setting:
                raise UserError(
                    f"{document.name}, line {setting.line}, '{setting.key}': also set on line {other_setting.line}. "
                    "A setting must be either fixed, swept or in points."
                )
