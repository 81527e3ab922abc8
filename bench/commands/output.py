"""Printing for the verbs: text, JSON and tables."""

import json
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import typer

from mcr_bench.bench.printable import masked, printable, shown
from mcr_bench.bench.report.notebook import in_notebook
from mcr_bench.bench.runs.words import counted

if TYPE_CHECKING:
    from mcr_bench.bench.record.tracking import Record

T = TypeVar("T")
EVERY = 5.0  # seconds between two lines of progress


def say(text: object, err: bool = False) -> None:
    """Print a text on stdout, or on stderr, without credentials; its control characters are written as escapes.

    In a notebook all of it is on stdout: what is on stderr looks like an error there.
    """
    typer.echo(printable(masked(str(text))) if err else shown(str(text)), err=err and not in_notebook())


def print_json(value: object) -> None:
    """Print a value as JSON on stdout; a value of a type that JSON does not have is printed as text."""
    say(json.dumps(value, indent=2, default=str))


def print_data(data: T, text_of: Callable[[T], str], as_json: bool) -> None:
    """Print data on stdout: as JSON, or as the text that `text_of` makes of it."""
    if as_json:
        print_json(data)
    else:
        say(text_of(data))


def progress(name: str) -> Callable[[int, int], None]:
    """Says on stderr, every five seconds, how many of how many runs of `name` are done."""
    last = [time.monotonic()]

    def show(done: int, total: int) -> None:
        if time.monotonic() - last[0] > EVERY:
            last[0] = time.monotonic()
            say(f"'{name}': {done} of {counted(total)}", err=True)

    return show


def open_record(tracking_uri: str | None, server_wait: float | None = None) -> "Record":
    """The record of a command; a part of it that cannot be read is reported on stderr."""
    from mcr_bench.bench.record.store import database_file
    from mcr_bench.bench.record.tracking import SERVER_WAIT, Record

    wait = SERVER_WAIT if server_wait is None else server_wait
    record = Record(tracking_uri, note=partial(say, err=True), server_wait=wait)
    if server_wait is not None and database_file(record.uri) is not None:
        say(f"--server-wait has no effect: the record at {record.address} is a file, not a server", err=True)
    return record


def nothing_in(record: "Record", *asked: str | None) -> str:
    """A message that the record has no such finished run, with the remedy."""
    rows = record.rows()
    ended = Counter(row.status for row in rows)
    if ended and not ended["finished"]:
        counts = ", ".join(f"{count} {status}" for status, count in sorted(ended.items()))
        return f"The record at {record.address} holds no finished run ({counts}). `mcr-bench results` lists its runs."
    names = " and ".join(f"'{name}'" for name in asked if name)
    if names:
        return f"The record at {record.address} holds no run of {names}. `mcr-bench results` lists its runs."
    return (
        f"The record at {record.address} holds no run yet. Start with: mcr-bench run --methods all --dataset synthetic"
    )
