"""Properties that every method, encoder, fusion head or dataset must have, and the card that says which of them hold.

>>> def positive(number: int) -> None:
...     if number <= 0:
...         raise Failed(f"it is {number}")
>>> card = checked("three", "number", (Property("sign", "it is positive", "add to it", positive),), 3)
>>> [(outcome.property, outcome.state) for outcome in card.outcomes]
[('sign', 'passed')]
"""

import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from typing import Generic, Literal, TypeVar

import mcr_bench
from mcr_bench.bench.errors import UserError, in_words

S = TypeVar("S")
S_in = TypeVar("S_in", contravariant=True)
DATA_ROOT = Path("data")  # the parent folder of prepared datasets, where no other is named
ROOT = Path(mcr_bench.__file__).parent
State = Literal["passed", "failed", "not applicable"]


class Failed(Exception):
    """A property does not hold. The text is the reason: what was seen, with names and numbers.

    hint: how to repair it, where that is not the hint of the property.
    also: what else can be the cause, and is read after the hint.
    """

    def __init__(self, reason: str, hint: str = "", also: str = "") -> None:
        super().__init__(reason)
        self.hint, self.also = hint, also


class NotApplicable(Exception):
    """A property says nothing about this subject. The text is the reason, such as a need that it declares."""


@dataclass(frozen=True)
class Property(Generic[S_in]):
    """Something that every subject of a kind must do.

    name: a few words with hyphens, by which it is named in cards and tests.
    promise: what holds, as a sentence that begins with a small letter.
    hint: what usually breaks it, and how to repair it.
    check: raises `Failed` where it does not hold, and `NotApplicable` where it says nothing.
    """

    name: str
    promise: str
    hint: str
    check: Callable[[S_in], None]


@dataclass(frozen=True)
class Outcome:
    """What checking a property gave.

    property: the name of the property.
    state: whether it holds.
    reason: why it does not hold or apply; '' where it holds.
    seconds: how long the check took.
    promise, hint: those of the property.
    """

    property: str
    state: State
    reason: str
    seconds: float
    promise: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Checked:
    """The card of a subject.

    subject: its name.
    kind: what it is, such as "method".
    outcomes: one per property, in the order of the properties.
    notes: measured facts, such as what a step costs, name -> text.
    """

    subject: str
    kind: str
    outcomes: tuple[Outcome, ...]
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def holds(self) -> bool:
        """Whether no property failed."""
        return all(outcome.state != "failed" for outcome in self.outcomes)


@dataclass(frozen=True)
class Opened(Generic[S]):
    """What a target names, ready to be checked.

    subject: its name on the card.
    of: what the properties are given.
    file: the file of its code, whose lines are named where it raises an error.
    notes: gives the notes of the card, once the properties were checked.
    """

    subject: str
    of: S
    file: Path | None = None
    notes: Callable[[], tuple[tuple[str, str], ...]] = tuple


@dataclass(frozen=True)
class Kit(Generic[S]):
    """How a kind of plug-in is checked.

    properties: what every one of them must do.
    opened: gives what a target names: a registered name, `FILE.py:CLASS`, or `PACKAGE:CLASS`.
    opened_at: the same for prepared data in a folder; None where a kind reads none.
    """

    properties: tuple[Property[S], ...]
    opened: Callable[[str], Opened[S]]
    opened_at: Callable[[str, Path], Opened[S]] | None = None


def checked(subject: str, kind: str, properties: Iterable[Property[S]], of: S, file: Path | None = None) -> Checked:
    """Check every property of `of` in this process. file: that of its code, whose lines are named in reasons."""
    return Checked(subject, kind, tuple(outcome_of(one, of, file) for one in properties))


def outcome_of(one: Property[S], of: S, file: Path | None = None) -> Outcome:
    """Check one property. An error other than `Failed` and `NotApplicable` counts as a failure too."""
    began = time.perf_counter()
    state, reason, hint = _state_of(one, of, file)
    return Outcome(one.name, state, reason, time.perf_counter() - began, one.promise, hint)


def _state_of(one: Property[S], of: S, file: Path | None) -> tuple[State, str, str]:
    """The state, the reason and the hint."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they decide nothing, whatever the filters of the process are
            one.check(of)
    except NotApplicable as reason:
        return "not applicable", str(reason), one.hint
    except Failed as reason:
        return "failed", str(reason), f"{reason.hint or one.hint} {reason.also}".rstrip()
    except (Exception, SystemExit) as error:  # of any type: the code is somebody else's
        return "failed", f"{in_words(error)}{line_of(error, file)}", one.hint
    return "passed", "", one.hint


def line_of(error: BaseException, file: Path | None) -> str:
    """The last line of `file` that an error passed through, as " (my_method.py, line 12)"; '' if no file is given.

    Of an error that no line of the file is on the way to, the last line of the harness: an object that the file made,
    such as a tensor of the wrong shape, is used there. A `UserError` says itself what is wrong.
    """
    if file is None:
        return ""
    places = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
    if own := [line for name, line in places if name == str(file)]:
        return f" ({file.name}, line {own[-1]})"
    harness = [(Path(name), line) for name, line in places if Path(name).is_relative_to(ROOT)]
    if isinstance(error, UserError) or not harness:
        return ""
    path, line = harness[-1]
    return f" (no line of {file.name}; in {ROOT.name}/{path.relative_to(ROOT).as_posix()}, line {line})"
