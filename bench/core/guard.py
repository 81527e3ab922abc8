"""One part of an output that fails becomes a reason in words, and takes no other part along."""

from collections.abc import Callable
from typing import TypeVar

from mcr_bench.bench.core.interrupts import check
from mcr_bench.bench.errors import in_words, one_line

T = TypeVar("T")
U = TypeVar("U")


def attempt(make: Callable[[], T], otherwise: Callable[[str], U]) -> T | U:
    """What `make` gives; where it raises, what `otherwise` makes of the reason: the error's type and text on one line.

    Ctrl-C is no failure of a part, also where a library has turned it into an error of its own: it goes on upwards.
    """
    try:
        return make()
    except Exception as error:
        check()
        return otherwise(one_line(in_words(error)))
