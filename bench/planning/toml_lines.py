"""Find the line of each key and list element of a TOML text, for errors; tomllib itself does not keep lines."""

import tomllib
from collections.abc import Iterator
from contextlib import suppress
from itertools import product

Place = tuple[str | int, ...]
# What may be open at the end of a line: a string of several lines, and lists and inline tables up to four deep.
CLOSINGS = [end + "".join(more) for n in range(5) for more in product("]}", repeat=n) for end in ("", '"""', "'''")]


def key_lines(text: str) -> dict[Place, int]:
    """Path of each table, key and list element (keys, and indices from 0) of valid TOML -> its line, counted from 1.

    It is the first line with which tomllib can read it, given the lines before.

    >>> key_lines("seeds = 3\\n[set]\\nepochs = 5")[("set", "epochs")]
    3
    """
    lines, rows, headers = dict[Place, int](), list[str](), 0
    for number, row in enumerate(text.split("\n"), 1):
        rows.append(row)
        content, whole = _begun(rows)
        for place in _places(content):
            lines.setdefault(place, number)
        if whole and not rows[headers].lstrip().startswith("["):
            del rows[headers:]
        headers = len(rows) if whole else headers
    return lines


def _begun(rows: list[str]) -> tuple[object, bool]:
    """The content of the rows as far as they go, and whether it is complete."""
    for closing in CLOSINGS:
        with suppress(tomllib.TOMLDecodeError):
            return tomllib.loads("\n".join([*rows, closing])), not closing
    return None, False


def _places(value: object, place: Place = ()) -> Iterator[Place]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*place, key)
        yield from _places(inner, (*place, key))
