"""Checks in a process of their own, so that a hang or a crash of user code is reported with the property's name.

The process that asks imports no torch. The worker says what it begins to check and what came of it; where it dies or
takes too long, another one goes on after that property.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from mcr_bench.bench.core.workers.pool import Died, Worker, ready
from mcr_bench.bench.core.workers.processes import Script
from mcr_bench.bench.core.workers.serving import Pipe
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.testing.card import DATA_ROOT, Checked, Outcome, outcome_of

STARTING = 120.0  # seconds that a worker has to import torch, on a busy machine
LIMIT = 15.0  # seconds that a property has, of which it takes one as a rule
BREAKDOWNS = 2  # after so many hangs and crashes the rest is not checked
IMPORT = "import"
HANGING = (
    "Look for a loop without an end, a lock, and waiting for input or the network. Code at the top of a file runs when "
    "it is imported."
)
DYING = (
    "Look for os._exit, os.abort and os.kill, and for a crash inside a library; "
    "PYTHONFAULTHANDLER=1 mcr-bench check ... prints the line of a crash."
)
CODE = "import sys; from mcr_bench.bench.testing.served import serve; serve(int(sys.argv[1]))"


class Contents(NamedTuple):
    """What a target is: its name, its kind, and (name, promise, hint) of every property in their order."""

    subject: str
    kind: str
    properties: tuple[tuple[str, str, str], ...]


class Begun(NamedTuple):
    """A property is being checked from now on."""

    property: str


class Wrong(NamedTuple):
    """The target cannot be checked at all: the text of a UserError."""

    text: str


class Ended(NamedTuple):
    """Everything is checked; notes are those of the card."""

    notes: tuple[tuple[str, str], ...]


class Asked(NamedTuple):
    """The job of a worker: what is checked, without the properties that were checked before, and where its data is."""

    target: str
    done: frozenset[str]
    data_root: Path


Event = Contents | Begun | Outcome | Wrong | Ended


def serve(descriptor: int) -> None:
    """The worker: do one job that comes through the pipe with this file descriptor."""
    os.dup2(2, 1)  # what the user's code prints must not stand in the command's output
    pipe: Pipe = Connection(descriptor)
    asked: Asked = pipe.recv()
    try:
        for event in _events(asked):
            pipe.send(event)
    except UserError as error:
        pipe.send(Wrong(str(error)))


def _events(asked: Asked) -> Iterator[Event]:
    from mcr_bench.bench.testing import kits

    yield Begun(IMPORT)
    target = kits.opened(asked.target, asked.data_root)
    opened, properties = target.opened, target.kit.properties
    told = (kits.IMPORTED, *properties)
    yield Contents(opened.subject, target.kind, tuple((one.name, one.promise, one.hint) for one in told))
    yield outcome_of(kits.IMPORTED, target, opened.file)
    for one in properties:
        if one.name not in asked.done:
            yield Begun(one.name)
            yield outcome_of(one, opened.of, opened.file)
    yield Begun("")
    yield Ended(opened.notes())


@dataclass
class _Course:
    """What is known of the check of a target.

    now: what is being checked; None before the worker is ready.
    """

    contents: Contents | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    now: str | None = None
    ended: Ended | None = None

    def take(self, event: Event) -> None:
        """Take an event over; UserError where the target cannot be checked."""
        if isinstance(event, Wrong):
            raise UserError(event.text)
        if isinstance(event, Contents):
            self.contents = event
        elif isinstance(event, Begun):
            self.now = event.property
        elif isinstance(event, Outcome):
            self.outcomes[event.property] = event
        else:
            self.ended = event


def checked_apart(target: str, limit: float = LIMIT, code: str = CODE, data_root: Path = DATA_ROOT) -> Checked:
    """The card of a target, checked by a worker; UserError where it cannot be checked, or not even imported.

    limit: seconds that the import, and each property, has. data_root: the parent folder of prepared datasets.
    """
    course, last = _Course(), ""
    for _ in range(BREAKDOWNS):
        last = _followed(course, partial(Asked, target, data_root=data_root), limit, code)
        if course.contents is None:
            raise _not_imported(target, course.outcomes[IMPORT])
        if course.ended is not None or _is_hopeless(course):
            break
    return _card(course, last)


def _is_hopeless(course: _Course) -> bool:
    """Whether what broke down is what all else is made of: the first property."""
    return course.contents is not None and course.now == course.contents.properties[1][0]


def _not_imported(target: str, import_: Outcome) -> UserError:
    """The error for a target whose import hangs or ends the process, as for one whose import raises an error."""
    return UserError(f"'{target}' cannot be imported: {import_.reason}. {import_.hint}")


def _followed(course: _Course, asked: Callable[[frozenset[str]], Asked], limit: float, code: str) -> str:
    """Follow one worker to its end; what it was checking when it broke down, '' if it has ended well."""
    worker: Worker[Asked, Event] = Worker(Script(code))
    try:
        course.now = None
        worker.give(asked(frozenset(course.outcomes)))
        began = time.monotonic()
        while course.ended is None:
            left = began + (STARTING if course.now is None else limit) - time.monotonic()
            if left <= 0:
                return _broken(course, f"it does not end within {limit:.0f} seconds", HANGING)
            if ready([worker], left):
                for event in worker.events():
                    if event is None:
                        return "" if course.ended else _broken(course, _death(worker.death()), DYING)
                    course.take(event)
                began = time.monotonic()
        return ""
    finally:
        worker.stop()


def _broken(course: _Course, reason: str, hint: str) -> str:
    now = course.now or IMPORT
    _, promise, _ = next((one for one in _told(course) if one[0] == now), (now, "it can be imported", ""))
    course.outcomes[now] = Outcome(now, "failed", reason, 0.0, promise, hint)
    return now


def _told(course: _Course) -> tuple[tuple[str, str, str], ...]:
    return course.contents.properties if course.contents else ()


def _death(died: Died) -> str:
    if died.signal:
        memory = ", perhaps as memory ran out" if died.out_of_memory else ""
        return f"it ends the process by {died.signal}{memory}"
    return f"it ends the process with exit code {died.code}"


def _card(course: _Course, last: str) -> Checked:
    assert course.contents is not None
    subject, kind = course.contents.subject, course.contents.kind
    missing = f"not checked, as {last} broke down"
    outcomes = [
        course.outcomes.get(name) or Outcome(name, "not applicable", missing, 0.0, promise, hint)
        for name, promise, hint in _told(course)
    ]
    return Checked(subject, kind, tuple(outcomes), course.ended.notes if course.ended else ())
