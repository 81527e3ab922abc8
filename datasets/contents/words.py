"""Wording that messages about array files share: rows, names, and text from bytes."""

from collections.abc import Sequence

import numpy as np

from mcr_bench.bench.core.arrays import Array

MISSING = ("", "nan", "NaN", "<NA>", "NaT")  # what data frames write for a missing text or number
NAMED = 3  # names that a message lists before it counts the rest


def rows_in_words(bad: Array) -> str:
    """The first rows of a mask (N,) bool that are set.

    >>> rows_in_words(np.array([False, True, True, False, True, True]))
    'row 1, 2, 4 and 1 more'
    """
    rows = np.flatnonzero(bad)
    return f"row {', '.join(map(str, rows[:3]))}{f' and {len(rows) - 3} more' if len(rows) > 3 else ''}"


def some_names(names: Sequence[str], noun: str = "class") -> str:
    """A number of things with their names; the names are quoted, so that they cannot be mistaken for the number.

    >>> some_names(["7"]), some_names(["a", "b", "c", "d", "e"])
    ("1 class ('7')", "5 classes ('a', 'b', 'c', 2 more)")
    """
    listed = [f"'{name}'" for name in names[:NAMED]]
    if len(names) > NAMED:
        listed.append(f"{len(names) - NAMED} more")
    return f"{len(names)} {noun if len(names) == 1 else plural(noun)} ({', '.join(listed)})"


def plural(noun: str) -> str:
    """The plural of a noun.

    >>> plural("class"), plural("sample")
    ('classes', 'samples')
    """
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"


def as_text(array: Array) -> Array:
    """An array of text, bytes or numbers as an array of text of the same shape, without blanks around each text.

    Bytes are decoded as UTF-8; those that are not stand as in Python's text of bytes, so that different ones differ.
    """
    if array.dtype.kind == "S":
        return np.char.strip(np.char.decode(array, "utf-8", "backslashreplace"))
    return np.char.strip(array.astype(str))
