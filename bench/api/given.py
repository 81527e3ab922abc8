"""What a caller from Python gives, checked as the command line checks it: `UserError` names the argument."""

import operator
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path

from mcr_bench.bench.errors import UserError, one_line

LONGEST = 60  # characters of a value that are shown


def whole(name: str, value: object, least: int) -> int:
    """A whole number of at least `least`, of Python or NumPy.

    >>> whole("jobs", 2, least=1)
    2
    """
    if isinstance(value, Integral) and not isinstance(value, bool) and operator.index(value) >= least:
        return operator.index(value)
    raise _refused(name, value, f"a whole number >= {least}")


def text(name: str, value: object) -> str:
    """A text."""
    if isinstance(value, str):
        return value
    raise _refused(name, value, "a text")


def path(name: str, value: object) -> str | Path:
    """A path."""
    if isinstance(value, str | Path):
        return value
    raise _refused(name, value, "a path")


def flag(name: str, value: object) -> bool:
    """True or False: of a text, such as "no", Python would take it for true."""
    if isinstance(value, bool):
        return value
    raise _refused(name, value, "True or False")


def mapping(name: str, value: object) -> Mapping[str, object]:
    """A mapping of texts to values."""
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return value
    raise _refused(name, value, 'a dict, such as {"epochs": 5}')


def _refused(name: str, value: object, allowed: str) -> UserError:
    return UserError(f"{name}={one_line(repr(value), LONGEST)}: not allowed. Give {allowed}.")
