"""The three streams of a command: open, and able to take any text, whatever whoever started it has made of them."""

import os
import sys
from io import TextIOWrapper

NAMES = ("stdin", "stdout", "stderr")


def open_streams() -> None:
    """Give what was closed a place that swallows all and holds nothing, and what cannot write every character a `?`.

    Of a closed one Python has no object, and the next file that is opened gets its number: a process that is started
    would write its messages into that file, which may be the database of a record.
    """
    for number, name in enumerate(NAMES):
        if getattr(sys, name) is None:
            _open(number)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")


def _open(number: int) -> None:
    """Open /dev/null under this number, unless something else has got it meanwhile."""
    try:
        os.fstat(number)
    except OSError:
        nothing = os.open(os.devnull, os.O_RDWR)
        if nothing != number:
            os.dup2(nothing, number)
            os.close(nothing)
        os.set_inheritable(number, True)
