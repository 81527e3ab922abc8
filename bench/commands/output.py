"""Printing for the verbs: text, JSON and tables."""

import json
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import typer

from mcr_bench.bench.printable import printable

if TYPE_CHECKING:
    from mcr_bench.bench.record.tracking import Record


def say(text: object, err: bool = False) -> None:
    """One line on stdout, or on stderr; control characters in it are shown, not obeyed."""
    typer.echo(printable(str(text)), err=err)


def print_json(value: object) -> None:
    """JSON on stdout; whatever it does not know becomes text."""
    say(json.dumps(value, indent=2, default=str))


def open_record(tracking_uri: str | None) -> "Record":
    """The record of a verb; what cannot be read of it is said on stderr."""
    from mcr_bench.bench.record.tracking import Record

    return Record(tracking_uri, note=partial(say, err=True))


def nothing_in(record: "Record", *asked: str | None) -> str:
    """That the record holds no such finished run, and what to do about it."""
    rows = record.rows()
    ended = Counter(row.status for row in rows)
    if ended and not ended["finished"]:
        counts = ", ".join(f"{count} {status}" for status, count in sorted(ended.items()))
        return f"The record at {record.uri} holds no finished run ({counts}). `mcr-bench results` lists what there is."
    names = " and ".join(f"'{name}'" for name in asked if name)
    if names:
        return f"No run of {names} in the record at {record.uri}. `mcr-bench results` shows what there is."
    return f"The record at {record.uri} holds no run yet. Start with: mcr-bench run --methods all --dataset synthetic"
