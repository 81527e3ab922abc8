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

from mcr_bench.bench.errors import in_words

S = TypeVar("S")
S_in = TypeVar("S_in", contravariant=True)
DATA_ROOT = Path("data")  # the parent folder of prepared datasets, where no other is named
State = Literal["passed", "failed", "not applicable"]


class Failed(Exception):
    """A property does not hold. The text is the reason: what was seen, with names and numbers."""


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
    state, reason = _state_of(one, of, file)
    return Outcome(one.name, state, reason, time.perf_counter() - began, one.promise, one.hint)


def _state_of(one: Property[S], of: S, file: Path | None) -> tuple[State, str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they decide nothing, whatever the filters of the process are
            one.check(of)
    except NotApplicable as reason:
        return "not applicable", str(reason)
    except Failed as reason:
        return "failed", str(reason)
    except (Exception, SystemExit) as error:  # of any type: the code is somebody else's
        return "failed", f"{in_words(error)}{line_of(error, file)}"
    return "passed", ""


def line_of(error: BaseException, file: Path | None) -> str:
    """The last line of `file` that an error passed through, as " (my_method.py, line 12)"; '' if there is none."""
    if file is None:
        return ""
    lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == str(file)]
    return f" ({file.name}, line {lines[-1]})" if lines else ""
