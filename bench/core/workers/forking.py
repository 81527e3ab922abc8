"""A worker that does every job in a forked child, so that what a job changes in its process ends with it.

Patched functions, default dtype, folder and random states of one job then reach no other, and the worker imports what
all of them need only once.
"""

import ctypes
import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import FrameType
from typing import NoReturn

from mcr_bench.bench.core.workers.serving import Event, Handle, Job, Pipe
from mcr_bench.bench.printable import masked

# On macOS system libraries are not safe after a fork without exec.
FORKS = sys.platform.startswith("linux")
PARENT_DEATH_SIGNAL, CHILD_SUBREAPER = 1, 36  # PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER of prctl(2)
CHILD_POLL = 0.2  # seconds after which the death of a child is noticed


def serve_forked(pipe: Pipe, handle: Handle[Job, Event]) -> None:
    """Do every job in a child of its own; this process was started by multiprocessing.

    If a child dies, this process ends in the same way. Processes that a child leaves running end with its job.
    """
    _adopt()
    with suppress(EOFError, OSError):
        while True:
            pipe.send_bytes(_forked(pipe.recv_bytes(), handle, pipe))


def _forked(job: bytes, handle: Handle[Job, Event], pipe: Pipe) -> bytes:
    """Do a job in a child, and return its last event when the child has ended."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    worker = os.getpid()
    child = os.fork()
    if not child:
        _live(job, handle, pipe, theirs, worker)
    theirs.close()
    event, status = _last_event(ours, child)
    ours.close()
    _end_children()
    if event is None:
        _die_of(os.waitstatus_to_exitcode(status))
    return event


def _last_event(pipe: Pipe, child: int) -> tuple[bytes | None, int]:
    """The event that a child has sent, or None if it died before, and its exit status.

    Waiting for the end of the pipe is not enough, as a process that the child has started may hold it open.
    """
    ended, status, event = 0, 0, None
    while not ended and not pipe.poll(CHILD_POLL):
        ended, status = os.waitpid(child, os.WNOHANG)
    with suppress(EOFError):
        event = pipe.recv_bytes() if pipe.poll() else None
    if not ended:
        _, status = os.waitpid(child, 0)
    return event, status


def _adopt() -> None:
    """Adopt the processes that a child leaves running, so that they end with its job or with this process."""
    ctypes.CDLL(None).prctl(CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, _end_of_worker)


def _end_of_worker(number: int, _frame: FrameType | None) -> None:
    _end_children()
    _die_of(-number)


def _end_children() -> None:
    """End every child of this process, including adopted ones."""
    while pids := [int(pid) for file in Path("/proc/self/task").glob("*/children") for pid in _words(file)]:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _words(file: Path) -> list[str]:
    """The words in a file of /proc; empty if the file is missing."""
    try:
        return file.read_text().split()
    except OSError:
        return []


def _live(job: bytes, handle: Handle[Job, Event], pipe: Pipe, last: Pipe, worker: int) -> NoReturn:
    """What a child does: it sends events to the parent and the last one to the worker, and runs no exit handlers."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _die_with(worker)
        last.send(handle(ForkingPickler.loads(job), pipe))
        code = 0
    except BaseException:
        os.write(2, masked(traceback.format_exc()).encode(errors="backslashreplace"))
    finally:
        os._exit(code)


def _die_with(worker: int) -> None:
    """Make a child end when its worker or the command ends, whatever it is doing then."""
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != worker:
        os._exit(1)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _die_of(code: int) -> NoReturn:
    """End as a child has ended, so that the parent learns the cause. code: that of `waitstatus_to_exitcode`."""
    faulthandler.disable()
    if code < 0:
        with suppress(OSError):  # SIGKILL cannot be handled, and need not be
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)
