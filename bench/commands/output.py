"""Printing for the verbs: text, JSON and tables."""

import json
from typing import Any

import typer


def say(text: Any, err: bool = False) -> None:
    """One line on stdout, or on stderr."""
    typer.echo(text, err=err)


def print_json(value: Any) -> None:
    """JSON on stdout; whatever it does not know becomes text."""
    say(json.dumps(value, indent=2, default=str))
