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
from typing import NoReturn

from filelock import FileLock

from mcr_bench.bench.errors import UserError, in_words
from mcr_bench.bench.executors.events import Event, Job, RunDone, RunFailed
from mcr_bench.bench.user_files import late_import

Entry = Callable[[Job, Callable[[Event], None]], None]

# On macOS system libraries are not safe after a fork without exec: there a worker is replaced after its first run.
FORKS = sys.platform.startswith("linux")
# Imported on first use by torch's optimisers and by pyarrow: a second that every run would pay for.
LATE_IMPORTS = (
    *("torch._dynamo", "torch.profiler._cupti_monitor", "torch.utils.serialization.config"),
    *("pandas", "pyarrow.compute", "pyarrow.pandas_compat", "pyarrow.vendored.version"),
)
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


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
    event = None
    with suppress(EOFError):
        event = ours.recv_bytes()
    ours.close()
    _, status = os.waitpid(child, 0)
    if event is None:
        _die_of(os.waitstatus_to_exitcode(status))
    return event


def _live(job: bytes, entry: str, pipe: Connection, last: Connection, worker: int) -> NoReturn:
    """The life of a child: epochs go straight to the parent, the last event to the worker. Nothing at exit is run."""
    code = 1
    try:
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
