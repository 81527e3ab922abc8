"""The table beside this file: which variants of methods are measured, and which values are wanted."""

import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TypedDict

TABLE = Path(__file__).with_name("table.toml")


class Table(TypedDict):
    """The content of table.toml, which explains it."""

    variants: list[tuple[str, str, str]]
    everywhere: list[str]
    by_hand: str
    memory: list[str]
    wanted: dict[str, dict[str, float]]
    at_least: dict[str, dict[str, float]]


def variants(method: str) -> list[tuple[str, str]]:
    """The settings (name, value) of a method that are timed beside its defaults."""
    return [(key, value) for name, key, value in table()["variants"] if name == method]


def wanted(kind: str, title: str) -> float | None:
    """The largest value that is wanted of a number on a type of device; None where no limit is set.

    >>> wanted("cpu", "mlp fp32: harness / bare loop")
    1.08
    """
    return _limit(table()["wanted"].get(kind, {}), title)


def at_least(kind: str, title: str) -> float | None:
    """The smallest value that is wanted of a number; None where no limit is set.

    >>> at_least("cpu", "packing: 2 runs at a time / one")
    1.8
    """
    return _limit(table()["at_least"].get(kind, {}), title)


def _limit(limits: Mapping[str, float], title: str) -> float | None:
    return next((float(limit) for pattern, limit in limits.items() if fnmatchcase(title, pattern)), None)


@cache
def table() -> Table:
    """The table as it is in its file."""
    content: Table = tomllib.loads(TABLE.read_text(encoding="utf-8"))  # type: ignore[assignment]
    return content
