"""The three streams of a command: open, and able to take any text, whatever whoever started it has made of them."""

import os
import sys
from io import TextIOWrapper

NAMES = ("stdin", "stdout", "stderr")
RAISING = ("strict", "surrogateescape")  # handlers of errors that let a character without a code end the program


def open_streams() -> None:
    """Give what was closed a place that swallows all and holds nothing, and what cannot write every character a `?`.

    Of a closed one Python has no object, and the next file that is opened gets its number: a process that is started
    would write its messages into that file, which may be the database of a record.
    """
    for number, name in enumerate(NAMES):
        if getattr(sys, name) is None:
            opened = os.fdopen(_opened(number), "w" if number else "r", encoding="utf-8", closefd=False)
            setattr(sys, name, opened)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors in RAISING:
            stream.reconfigure(errors="replace")


def _opened(number: int) -> int:
    """/dev/null, under this number unless another file has got it meanwhile."""
    nothing = os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    if nothing == number:
        os.set_inheritable(number, True)
    return nothing
