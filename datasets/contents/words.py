"""Words that messages about array files share: rows, names, text of bytes."""

from collections.abc import Sequence

import numpy as np

from mcr_bench.bench.core.arrays import Array

NAMED = 3  # names that a message lists before it counts


def rows_in_words(bad: Array) -> str:
    """The first offending rows of a mask (N,): 'row 2, 5, 8 and 1 more'."""
    rows = np.flatnonzero(bad)
    return f"row {', '.join(map(str, rows[:3]))}{f' and {len(rows) - 3} more' if len(rows) > 3 else ''}"


def some_names(names: Sequence[str], noun: str = "class") -> str:
    """Some classes in words, which no number can be taken for: 1 class ('7'), or 5 classes ('a', 'b', 'c', 2 more)."""
    told = [f"'{name}'" for name in names[:NAMED]]
    if len(names) > NAMED:
        told.append(f"{len(names) - NAMED} more")
    return f"{len(names)} {noun if len(names) == 1 else plural(noun)} ({', '.join(told)})"


def plural(noun: str) -> str:
    """'classes', 'samples'."""
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"


def as_text(array: Array) -> Array:
    """Strings, also of bytes and numbers."""
    return np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array.astype(str)
