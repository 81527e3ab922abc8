"""What a worker process does: it takes jobs from a pipe, sends events back, and ends when its parent ends.

The module imports almost nothing, as workers must start quickly; the function that handles jobs imports what they need.
"""

import pickle
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, TypeAlias, TypeVar

# One end of a pipe, over which anything that can be pickled is sent.
Pipe: TypeAlias = "Connection[Any, Any]"
Job = TypeVar("Job")
Event = TypeVar("Event")
# Does a job: sends events of it through the pipe on the way, and returns the last one.
Handle = Callable[[Job, Pipe], Event]


class Begun(NamedTuple):
    """The first event of a process in which `begin` runs. failure: why it cannot load the function for jobs, or ''."""

    failure: str = ""


def begin(descriptor: int) -> None:
    """Serve through the pipe with this file descriptor; it first brings the pickled function that handles jobs."""
    pipe: Pipe = Connection(descriptor)
    with suppress(EOFError, OSError):  # the parent is gone
        try:
            handle = pickle.loads(pipe.recv_bytes())
        except Exception as error:  # of any type: modules are run
            pipe.send(Begun(f"{type(error).__name__}: {error}"))
            return
        pipe.send(Begun())
        serve(pipe, handle)


def serve(pipe: Pipe, handle: Callable[[Job], Event]) -> None:
    """Do every job in this process; each gives one event."""
    with suppress(EOFError, OSError):
        while True:
            pipe.send(handle(pipe.recv()))


def serve_one(pipe: Pipe, handle: Handle[Job, Event]) -> None:
    """Do one job in this process, which may change the process."""
    with suppress(EOFError, OSError):
        pipe.send(handle(pipe.recv(), pipe))
