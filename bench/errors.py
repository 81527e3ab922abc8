"""Errors that are the user's to mend: they end a command with exit code 2 and a remedy, never with a traceback."""

from collections.abc import Iterable
from difflib import get_close_matches

from mcr_bench.bench.printable import in_line

MOST_NAMES = 30  # more than these bury the nearest ones


class UserError(Exception):
    """Wrong usage or wrong data. The message names the offending thing, what is allowed, and the remedy."""


def unknown(kind: str, name: str, allowed: Iterable[str]) -> UserError:
    """An error for a name that is not known: the nearest names first, then all of them unless they are too many."""
    names, name = sorted(allowed), in_line(name)
    near = get_close_matches(name, names, n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    if near and len(names) > MOST_NAMES:
        return UserError(f"unknown {kind} '{name}'.{hint}")
    return UserError(f"unknown {kind} '{name}'.{hint} Known: {', '.join(names) or 'none'}.")
