"""TOML and JSON of users and of other programs: what is nested too deep, or too large a number, is a ValueError."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from mcr_bench.bench.core.inputs.sizes import check_size

T = TypeVar("T")
DEEPEST = 64  # levels; ours have at most six, and Python's own limit is some hundreds
LARGEST = 2**64  # Python refuses to write numbers of thousands of digits, as an error would
GROWTH = 10  # bytes of memory for a byte of text that becomes Python's objects


def toml_of(text: str) -> dict[str, Any]:
    """The content of a TOML text; ValueError, as TOML's own error is one, if it is wrong or nested too deep."""
    if _most_dots(text) > DEEPEST:
        raise _too_deep()
    return _bounded(lambda: tomllib.loads(text))


def json_of(text: str | bytes) -> Any:
    """The content of a JSON text; ValueError, as JSON's own error is one, if it is wrong or nested too deep."""
    return _bounded(lambda: json.loads(text))


def text_of(path: Path) -> str:
    """The UTF-8 text of a file that becomes Python's objects; UserError if these would take too much memory.

    OSError if the file cannot be read, UnicodeDecodeError if it is not UTF-8.
    """
    check_size(path, GROWTH * path.stat().st_size)
    return path.read_text(encoding="utf-8")


def check_nesting(content: object) -> None:
    """ValueError if lists and dicts are nested deeper than 64 levels, or hold a whole number beyond 2**64."""
    level = [content]
    for _ in range(DEEPEST):
        if any(isinstance(one, int) and abs(one) > LARGEST for one in level):
            raise ValueError("a whole number beyond 2**64")
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return
    raise _too_deep()


def _most_dots(text: str) -> int:
    """The most dots of one key: a key of thousands of parts takes tomllib minutes. Rows of dots are not counted."""
    pieces = (piece for line in text.splitlines() if line.count(".") > DEEPEST for piece in re.split("[,=]", line))
    return max((len(re.findall(r"[^.]\.", piece)) for piece in pieces), default=0)


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _bounded(parse: Callable[[], T]) -> T:
    try:
        content = parse()
    except RecursionError as error:
        raise _too_deep() from error
    check_nesting(content)
    return content


def _too_deep() -> ValueError:
    return ValueError(f"nested deeper than {DEEPEST} levels")
