"""The three streams of a command: open, and able to take any text, whatever whoever started it has made of them."""

import errno
import os
import sys
from io import TextIOWrapper
from typing import TextIO

NAMES = ("stdin", "stdout", "stderr")
RAISING = ("strict", "surrogateescape")  # handlers of errors that let a character without a code end the program


def open_streams() -> None:
    """Give what was closed a place that swallows all and holds nothing, and what cannot write every character a `?`."""
    replace_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors in RAISING:
            stream.reconfigure(errors="replace")


def replace_closed() -> None:
    """Give what was closed a place that swallows all and holds nothing.

    Of what was closed before Python began it has no object, and the next file that is opened gets its number: a process
    that is started would write its messages into that file, which may be the database of a record.
    """
    for number, name in enumerate(NAMES):
        stream = getattr(sys, name)
        if stream is None or stream.closed or _is_gone(stream):
            opened = os.fdopen(_opened(number), "w" if number else "r", encoding="utf-8", closefd=False)
            setattr(sys, name, opened)


def _is_gone(stream: TextIO) -> bool:
    """Whether the file below an open stream was closed; what has no file, as in a notebook or a test, is not."""
    try:
        os.fstat(stream.fileno())
    except (OSError, ValueError) as error:
        return isinstance(error, OSError) and error.errno == errno.EBADF
    return False


def _opened(number: int) -> int:
    """/dev/null, under this number unless another file has got it meanwhile."""
    nothing = os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    if nothing == number:
        os.set_inheritable(number, True)
    return nothing
