"""Printing for the verbs: text, JSON and tables."""

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import typer

from mcr_bench.bench.printable import printable

if TYPE_CHECKING:
    from mcr_bench.bench.record.tracking import Record


def say(text: Any, err: bool = False) -> None:
    """One line on stdout, or on stderr; control characters in it are shown, not obeyed."""
    typer.echo(printable(str(text)), err=err)


def print_json(value: Any) -> None:
    """JSON on stdout; whatever it does not know becomes text."""
    say(json.dumps(value, indent=2, default=str))


def nothing_in(record: "Record", *asked: str | None) -> str:
    """That the record holds no such finished run, and what to do about it."""
    rows = record.rows()
    ended = Counter(row["status"] for row in rows)
    if ended and not ended["finished"]:
        counts = ", ".join(f"{count} {status}" for status, count in sorted(ended.items()))
        return f"The record at {record.uri} holds no finished run ({counts}). `mcr-bench results` lists what there is."
    names = " and ".join(f"'{name}'" for name in asked if name)
    if names:
        return f"No run of {names} in the record at {record.uri}. `mcr-bench results` shows what there is."
    return f"The record at {record.uri} holds no run yet. Start with: mcr-bench run --methods all --dataset synthetic"
