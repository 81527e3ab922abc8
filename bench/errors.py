"""Errors that the user can fix: they end a command with a message and a remedy, never with a traceback."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches

from mcr_bench.bench.printable import in_line, masked, printable, shown

MOST_NAMES = 30  # more than these bury the nearest ones
# How PyTorch says that a tensor is larger than the memory of a machine, or of any.
TOO_LARGE = ("can't allocate memory", "Storage size calculation overflowed", "integer multiplication overflow")
LONGEST = 1000  # characters of an error that is written on one line
MOST_QUOTED = 200  # characters of the error of a library that a message quotes
MOST_PARTS = 3  # errors of a group that are named
BEGINNING, END = 20_000, 80_000  # characters that are kept of a longer traceback


class UserError(Exception):
    """Wrong usage or wrong data. The message names what is wrong, what is allowed, and the remedy.

    exit_code: with which it ends a command.
    """

    exit_code = 2

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows of it: the message alone."""
        return [f"{type(self).__name__}: {shown(str(self))}"]


class Unavailable(UserError):
    """Nothing is wrong with what was asked for, but something that it needs is missing: a server, room on a disk."""

    exit_code = 1


def unknown(kind: str, name: str, allowed: Iterable[str]) -> UserError:
    """The error for an unknown name: it lists the nearest names, then all names unless there are more than 30.

    >>> print(unknown("metric", "acuracy", ["accuracy", "macro_f1"]))
    unknown metric 'acuracy'. Did you mean accuracy? Known: accuracy, macro_f1.
    """
    names, name = sorted(allowed), in_line(name)
    near = get_close_matches(name, names, n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    if near and len(names) > MOST_NAMES:
        return UserError(f"unknown {kind} '{name}'.{hint}")
    return UserError(f"unknown {kind} '{name}'.{hint} Known: {', '.join(names) or 'none'}.")


def in_words(error: BaseException) -> str:
    """The type and text of an error, such as `ValueError: x`; of a `UserError` the text alone, as it says everything.

    The text keeps its line breaks. An error that has no text, or whose `__str__` fails, gives its type alone. Of a
    group of errors the first ones are named too.

    >>> in_words(ValueError("3 is too large")), in_words(UserError("--jobs 0: too small."))
    ('ValueError: 3 is too large', '--jobs 0: too small.')
    """
    text = _plain(lambda: str(error)).strip()
    name = _plain(lambda: type(error).__qualname__) or "error"
    if isinstance(error, BaseExceptionGroup):
        parts = "; ".join(in_words(part) for part in error.exceptions[:MOST_PARTS])
        return f"{name}: {text}: {parts}"
    if isinstance(error, UserError):
        return text or name
    return f"{name}: {text}" if text else name


def _plain(read: Callable[[], str]) -> str:
    """A text that code of others gives, as a plain `str`; '' where that code fails, however it does."""
    try:
        return str.__str__(read())
    except BaseException:
        return ""


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that the machine's memory does not suffice, or that no memory would; of a GPU it is not.

    >>> lacks_memory(MemoryError()), lacks_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    (True, True)
    """
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in TOO_LARGE)
    )


def error_at_end(traceback: str) -> str:
    """The type and text of the error at the end of a traceback; all of a text that is not a traceback.

    The error's text may have several lines. If it quotes another traceback, the error at the end of that one is given.

    >>> error_at_end("Traceback (most recent call last):\\n  File 'a.py', line 1\\nValueError: 3 is too large")
    'ValueError: 3 is too large'
    """
    lines = traceback.strip().splitlines()
    heads = [number for number, line in enumerate(lines) if line.startswith("Traceback ")]
    if not heads:
        return "\n".join(lines)
    after = lines[heads[-1] + 1 :]
    first = next((number for number, line in enumerate(after) if line.strip() and not line[0].isspace()), 0)
    return "\n".join(after[first:])


def one_line(text: str, longest: int = LONGEST) -> str:
    """`text` on one line: line breaks and runs of spaces become one space, and what exceeds `longest` is cut off.

    Control characters are written as escapes, so that the line can be stored and shown anywhere.

    >>> one_line("a line\\n  and another", longest=12)
    'a line and …'
    """
    joined = " ".join(text.split())
    if len(joined) > longest:  # of a password that is cut nobody sees later what it is
        joined = " ".join(masked(text).split())
    shown = printable(joined[: longest + 1])
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def quoted(error: BaseException) -> str:
    """What the error of a library says, as a message quotes it: on one line, cut off after 200 characters.

    >>> quoted(ValueError("bad\\n  magic"))
    'bad magic'
    """
    return one_line(str(error), MOST_QUOTED)


def within_bounds(text: str) -> str:
    """`text` with control characters as escapes; of a very long one the beginning and the end.

    >>> len(within_bounds("a" * 10**7)), within_bounds("a\\x00b")
    (100043, 'a\\\\u0000b')
    """
    left_out = len(text) - BEGINNING - END
    if left_out <= 0:
        return printable(text)
    return f"{printable(text[:BEGINNING])}\n... {left_out:,} characters are left out ...\n{printable(text[-END:])}"
