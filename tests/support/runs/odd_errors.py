"""Errors of users' code that are hard to tell of, and a run that ends with one of them."""

import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.runs.events import Event, Job


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


class Ending(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class Text(str):
    """A text whose class other processes do not know, and whose methods fail."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot be pickled")

    def strip(self, *_: object) -> NoReturn:
        raise ValueError("no strip")

    def split(self, *_: object, **__: object) -> NoReturn:
        raise ValueError("no split")


class Wrapped(Exception):
    def __str__(self) -> str:
        return Text("in a text of its own")


class Nameless(type):
    def __getattribute__(cls, name: str) -> Any:
        if name == "__qualname__":
            raise ValueError("no name")
        return super().__getattribute__(name)


class WithoutName(Exception, metaclass=Nameless):
    pass


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("holds a function", lambda: 0)


def _recursion() -> NoReturn:
    _recursion()
    raise AssertionError


def _chain(length: int) -> Exception:
    error = Exception("the first")
    for number in range(length):
        after = Exception(f"number {number}")
        after.__cause__ = error
        error = after
    return error


def _raise(error: BaseException) -> NoReturn:
    raise error


def _closed() -> NoReturn:
    sys.stdout.close()
    sys.stderr.close()
    raise ValueError("in the dark")


def _noted() -> NoReturn:
    error = ValueError("with notes")
    for _ in range(1000):
        error.add_note("a note that is long " * 100)
    raise error


KINDS: dict[str, tuple[Callable[[], Any], str]] = {
    "plain": (lambda: _raise(ValueError("bad luck")), "ValueError: bad luck"),
    "no text": (lambda: _raise(ValueError()), "ValueError"),
    "lone surrogate": (lambda: _raise(ValueError("a \ud800 b")), "ValueError: a \\ud800 b"),
    "bytes of a file name": (lambda: os.stat(b"/nowhere/\xff"), "FileNotFoundError: "),
    "zero bytes": (lambda: _raise(ValueError("a\x00b")), "ValueError: a\\u0000b"),
    "terminal codes": (lambda: _raise(ValueError("\x1b[2J\rgone")), "ValueError: \\u001b[2J gone"),
    "twenty megabytes": (lambda: _raise(ValueError("x" * 20_000_000)), "ValueError: xxx"),
    "twenty megabytes of lines": (lambda: _raise(ValueError("line\n" * 4_000_000)), "ValueError: line line"),
    "a text that fails": (lambda: _raise(Unspeakable()), "Unspeakable"),
    "a text that ends the program": (lambda: _raise(Ending()), "Ending"),
    "a text of a class of its own": (lambda: _raise(Wrapped()), "Wrapped: in a text of its own"),
    "a class without name": (lambda: _raise(WithoutName("so")), "error: so"),
    "a group": (
        lambda: _raise(ExceptionGroup("two", [ValueError("a"), KeyError("b")])),
        "ExceptionGroup: two (2 sub-exceptions): ValueError: a; KeyError: 'b'",
    ),
    "a group of many": (lambda: _raise(ExceptionGroup("many", [ValueError(n) for n in range(9999)])), "ExceptionGroup"),
    "a chain of many": (lambda: _raise(_chain(3000)), "Exception: number 2999"),
    "notes": (_noted, "ValueError: with notes"),
    "cannot be pickled": (lambda: _raise(Unpicklable()), "Unpicklable: ('holds a function'"),
    "recursion": (_recursion, "RecursionError: "),
    "exit": (lambda: sys.exit("I stop"), "SystemExit: I stop"),
    "exit with 0": (lambda: sys.exit(0), "SystemExit: 0"),
    "interrupt": (lambda: _raise(KeyboardInterrupt()), "KeyboardInterrupt"),
    "generator exit": (lambda: _raise(GeneratorExit()), "GeneratorExit"),
    "memory": (lambda: bytearray(1 << 62), "MemoryError"),
    "a user's error": (lambda: _raise(UserError("no such thing.\nBring one.")), "no such thing. Bring one."),
    "a long user's error": (lambda: _raise(UserError("no such thing. " * 10_000)), "no such thing. no such"),
    "outputs closed": (_closed, "ValueError: in the dark"),
}
ENDS = {
    "leaves with 0": (lambda: os._exit(0), "its worker process exited with code 0, 2 times"),
    "leaves with 7": (lambda: os._exit(7), "its worker process exited with code 7, 2 times"),
    "aborts": (os.abort, "its worker process was ended by SIGABRT, 2 times"),
}


def train(job: Job, _: Callable[[Event], None]) -> None:
    """End as the kind says that `behaviour` of the run names."""
    (KINDS | ENDS)[job.spec.behaviour][0]()  # type: ignore[attr-defined]
