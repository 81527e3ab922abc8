"""Errors that are the user's to mend: they end a command with exit code 2 and a remedy, never with a traceback."""

from collections.abc import Iterable
from difflib import get_close_matches

from mcr_bench.bench.printable import in_line

MOST_NAMES = 30  # more than these bury the nearest ones
LONGEST = 1000  # characters of an error that is told on one line


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


def in_words(error: BaseException) -> str:
    """Type and text of an error, `ValueError: x`; of a `UserError` its text alone, which says all.

    The text keeps its lines. An error without a text, or whose text cannot be made, is its type.
    """
    try:
        text = str(error).strip()
    except Exception:  # an error of somebody else's whose __str__ fails
        text = ""
    name = type(error).__qualname__
    if isinstance(error, UserError):
        return text or name
    return f"{name}: {text}" if text else name


def told_by(traceback: str) -> str:
    """Type and text of the error at the end of a traceback; a text without a traceback is all text.

    The text may have several lines. A text that quotes another traceback is told by what that one ends with.
    """
    lines = traceback.strip().splitlines()
    heads = [number for number, line in enumerate(lines) if line.startswith("Traceback ")]
    if not heads:
        return "\n".join(lines)
    after = lines[heads[-1] + 1 :]
    first = next((number for number, line in enumerate(after) if line.strip() and not line[0].isspace()), 0)
    return "\n".join(after[first:])


def one_line(text: str, longest: int = LONGEST) -> str:
    """`text` with its lines joined, cut at its end where it is longer than `longest`."""
    joined = " ".join(text.split())
    return joined if len(joined) <= longest else joined[: longest - 1] + "…"
