"""A part of an output that fails is replaced by the reason, and the other parts are still made."""

from collections.abc import Callable
from typing import TypeVar

from mcr_bench.bench.core.interrupts import check
from mcr_bench.bench.errors import in_words, one_line

T = TypeVar("T")
U = TypeVar("U")


def attempt(make: Callable[[], T], otherwise: Callable[[str], U]) -> T | U:
    """The result of `make`, or, if it raises an error, of `otherwise(reason)`.

    The reason is the error's type and text on one line. Ctrl-C is not caught, even where a library has replaced it by
    an error of its own: KeyboardInterrupt passes through. So does BrokenPipeError: nobody reads the output any more.

    >>> attempt(lambda: 6 * 7, len)
    42
    >>> attempt(lambda: [][1], str)
    'IndexError: list index out of range'
    """
    try:
        return make()
    except BrokenPipeError:
        raise
    except Exception as error:
        check()
        return otherwise(one_line(in_words(error)))
