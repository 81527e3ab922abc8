"""How every command ends: with a message for errors that the user can fix, and cleanly on Ctrl-C and SIGTERM."""

import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from signal import SIGINT
from typing import NoReturn, ParamSpec

import typer

from mcr_bench.bench.commands.output import say
from mcr_bench.bench.core.faults.streams import open_streams

P = ParamSpec("P")
TOO_LITTLE = "there is too little memory for this. Close other programs, or use less data or a smaller model."
COLLECTED = 100_000, 50, 100  # with Python's 700, 10, 10 a tenth of the time goes to the objects of a large record
STOPPED = 128  # and the number of the signal, as shells have it: 130 after Ctrl-C, 143 after SIGTERM


def verb(command: Callable[P, None]) -> Callable[P, None]:
    """The command, given only what can be the name of a file or folder, or a text of the record.

    It ends with a message for errors that the user can fix, and cleanly on Ctrl-C.
    """

    @wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        from mcr_bench.bench.core.faults.full_disk import full_disk_told
        from mcr_bench.bench.core.faults.refused import refused
        from mcr_bench.bench.core.interrupts import check, interrupted, remembered
        from mcr_bench.bench.errors import UserError, lacks_memory

        with remembered():
            try:
                with full_disk_told():
                    command(*args, **{name: _usable(value) for name, value in kwargs.items()})  # type: ignore[arg-type]
                check()
            except typer.Exit:
                raise
            except (Exception, KeyboardInterrupt) as error:
                # After Ctrl-C the error may be that of a half-imported library, which would only mislead.
                if interrupted() or isinstance(error, KeyboardInterrupt):
                    with suppress(OSError):  # the terminal may be gone
                        say("\nStopped. What is finished is kept; the same command continues from here.", err=True)
                    raise typer.Exit(STOPPED + (interrupted() or SIGINT)) from None
                if lacks_memory(error):
                    error = UserError(TOO_LITTLE)
                error = refused(error) or error
                if not isinstance(error, UserError):
                    raise
                say(f"error: {error}", err=True)
                raise typer.Exit(error.exit_code) from None

    return guarded


def end_with(program: Callable[[], str | int | None]) -> NoReturn:
    """Run a program and end with it; of an error that nobody expected the traceback is printed, without credentials."""
    open_streams()
    gc.set_threshold(*COLLECTED)
    try:
        sys.exit(program())
    except Exception as error:
        import traceback

        say("".join(traceback.format_exception(error)), err=True)
        sys.exit(1)


def _usable(value: object) -> object:
    """The value of an option, with `~` expanded in paths; UserError where it cannot be used."""
    from mcr_bench.bench.core.home import require_text, usable

    if isinstance(value, list | tuple):
        return [_usable(one) for one in value]
    if isinstance(value, Path):
        return usable(value)
    return require_text(value) if type(value) is str else value
