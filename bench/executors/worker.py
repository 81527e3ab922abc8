"""A worker: a process that imports what runs need, trains nothing itself, and forks a clean child for every run.

What a run changes in its process (patched functions, default dtype, folder, random states) ends with that process, so
that a result depends on the run alone and not on what the worker had before.
"""

import ctypes
import faulthandler
import gc
import importlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import NoReturn

from filelock import FileLock

from mcr_bench.bench.core.user_files import late_import
from mcr_bench.bench.errors import UserError, in_words
from mcr_bench.bench.runs.events import Event, Job, RunDone, RunFailed

Entry = Callable[[Job, Callable[[Event], None]], None]

# On macOS system libraries are not safe after a fork without exec: there a worker is replaced after its first run.
FORKS = sys.platform.startswith("linux")
# Imported on first use by torch's optimisers and by pyarrow: a second that every run would pay for.
LATE_IMPORTS = (
    *("torch._dynamo", "torch.profiler._cupti_monitor", "torch.utils.serialization.config"),
    *("pandas", "pyarrow.compute", "pyarrow.pandas_compat", "pyarrow.vendored.version"),
)
PARENT_DEATH_SIGNAL, CHILD_SUBREAPER = 1, 36  # PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER of prctl(2)
CHILD_POLL = 0.2  # seconds after which the death of a child is noticed


def work(pipe: Connection, entry: str, forks: bool) -> None:
    """Serve jobs until the pipe ends, each in a child; without `forks` one job, in this process.

    `entry` is `module:function`, called with (job, emit); one torch thread.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    faulthandler.enable()
    with suppress(Exception):  # imported while the parent is still busy; an error is reported with the first job
        _load(entry)
        _import_late()
    gc.freeze()  # a collection in a child would touch, and so copy, every page that it shares with this process
    if forks:
        _adopt()
    with suppress(EOFError, OSError):  # the parent is gone
        while forks:
            pipe.send_bytes(_forked(pipe.recv_bytes(), entry, pipe))
        pipe.send(_run(pipe.recv(), entry, pipe))


def _forked(job: bytes, entry: str, pipe: Connection) -> bytes:
    """The last event of a job, trained in a child that has ended. Where the child dies, this process dies alike."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    worker = os.getpid()
    child = os.fork()
    if not child:
        _live(job, entry, pipe, theirs, worker)
    theirs.close()
    event, status = _last_event(ours, child)
    ours.close()
    _end_children()
    if event is None:
        _die_of(os.waitstatus_to_exitcode(status))
    return event


def _last_event(pipe: Connection, child: int) -> tuple[bytes | None, int]:
    """What a child has sent, None if it died before, and its exit status.

    The end of the pipe alone would not do: a process that the child has started may hold it open.
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
    """Processes that a child leaves behind become this one's, and end with the child's run or with this process."""
    ctypes.CDLL(None).prctl(CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, _end_of_worker)


def _end_of_worker(number: int, _frame: FrameType | None) -> None:
    _end_children()
    _die_of(-number)


def _end_children() -> None:
    """End every child of this process; what a child leaves behind is then a child too."""
    while found := [int(pid) for file in Path("/proc/self/task").glob("*/children") for pid in _words(file)]:
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _words(file: Path) -> list[str]:
    """Of a file of /proc, empty where it is gone."""
    try:
        return file.read_text().split()
    except OSError:
        return []


def _live(job: bytes, entry: str, pipe: Connection, last: Connection, worker: int) -> NoReturn:
    """The life of a child: epochs go straight to the parent, the last event to the worker. Nothing at exit is run."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _die_with(worker)
        last.send(_run(multiprocessing.reduction.ForkingPickler.loads(job), entry, pipe))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _die_with(worker: int) -> None:
    """A child ends when its worker ends, whatever it is doing then, or when the command ends."""
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != worker:
        os._exit(1)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _die_of(code: int) -> NoReturn:
    """End as a child has ended, so that the parent learns the cause; code: as of `waitstatus_to_exitcode`."""
    faulthandler.disable()
    if code < 0:
        with suppress(OSError):  # SIGKILL cannot be handled, and need not be
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _run(job: Job, entry: str, pipe: Connection) -> Event:
    """Train the job; its last event is held back until everything of it is on disk and the folder is free again."""
    ends: list[Event] = []

    def emit(event: Event) -> None:
        if isinstance(event, RunDone | RunFailed):
            ends.append(event)
        else:
            pipe.send(event)

    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        job.weights_out.parent.mkdir(parents=True, exist_ok=True)
        _print_to(job)
        # A worker of a command that was just killed may still be writing here.
        with FileLock(job.folder / "worker.lock"):
            _load(entry)(job, emit)
        return ends[-1] if ends else RunFailed(job.spec.key, f"{entry} returned without saying that the run is done")
    except UserError as error:  # its words say all
        traceback.print_exc()
        return RunFailed(job.spec.key, in_words(error))
    except BaseException as error:
        traceback.print_exc()
        return RunFailed(job.spec.key, traceback.format_exc(), in_words(error) + late_import(error))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _load(entry: str) -> Entry:
    module, _, name = entry.partition(":")
    found: Entry = getattr(importlib.import_module(module), name)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    return found


def _import_late() -> None:
    """What torch and pyarrow import on first use; no method and no dataset, as those may be a user's."""
    for name in LATE_IMPORTS if "torch" in sys.modules else ():
        with suppress(ImportError):
            importlib.import_module(name)


def _print_to(job: Job) -> None:
    """Send what libraries print to the run's log: the terminal belongs to the parent's progress display."""
    log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
