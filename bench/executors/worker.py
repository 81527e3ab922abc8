"""A worker that trains: imports what runs need, trains nothing itself, and forks a clean child for every run.

A result then depends on its run alone, and not on what the worker had before.
"""

import faulthandler
import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from filelock import FileLock

from mcr_bench.bench.core.workers.forking import FORKS, serve_forked
from mcr_bench.bench.core.workers.serving import Pipe, serve_one
from mcr_bench.bench.executors.failures import failure_of
from mcr_bench.bench.runs.events import Event, Job, RunFailed, is_last

__all__ = ["FORKS", "train_job", "work"]

Entry = Callable[[Job, Callable[[Event], None]], None]

# Imported on first use by torch's optimisers and by pyarrow: a second that every run would pay for.
LATE_IMPORTS = (
    *("torch._dynamo", "torch.profiler._cupti_monitor", "torch.utils.serialization.config"),
    *("pandas", "pyarrow.compute", "pyarrow.pandas_compat", "pyarrow.vendored.version"),
)


def work(pipe: Pipe, entry: str, forks: bool) -> None:
    """Serve jobs until the pipe ends, each in a child; without `forks` one job, in this process.

    entry: `module:function`, which is called with (job, emit), and one torch thread.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    faulthandler.enable()
    with suppress(Exception):  # imported while the parent is still busy; an error is reported with the first job
        _load(entry)
        _import_late()
    gc.freeze()  # a collection in a child would touch, and so copy, every page that it shares with this process
    serve = serve_forked if forks else serve_one
    serve(pipe, partial(_train, entry))


def _train(entry: str, job: Job, pipe: Pipe) -> Event:
    return train_job(entry, job, pipe.send)


def train_job(entry: str, job: Job, emit: Callable[[Event], None]) -> Event:
    """Train a job in this process, which should do nothing else; returns the job's last event, and never raises.

    When it returns, all files of the job are on disk, and its folder is no longer used. Epochs are sent to `emit`; what
    is printed goes to the job's log. entry: module:function, as in `TrainingPlan`.
    """
    ends: list[Event] = []

    def held_back(event: Event) -> None:
        if is_last(event):
            ends.append(event)
        else:
            emit(event)

    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        job.weights_out.parent.mkdir(parents=True, exist_ok=True)
        _print_to(job)
        # A worker of a command that was just killed may still be writing here.
        with FileLock(job.folder / "worker.lock"):
            _load(entry)(job, held_back)
        return ends[-1] if ends else RunFailed(job.spec.key, f"{entry} returned without saying that the run is done")
    except BaseException as error:
        failed = failure_of(job, error)
        with suppress(Exception):  # the disk of the log may be full
            os.write(2, f"{failed.traceback}\n".encode(errors="backslashreplace"))  # into the run's log
        return failed
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # likewise; and users' code may have closed it
                stream.flush()


def _load(entry: str) -> Entry:
    module, _, name = entry.partition(":")
    function: Entry = getattr(importlib.import_module(module), name)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    return function


def _import_late() -> None:
    """What torch and pyarrow import on first use, and the harness's encoders and heads.

    No method and no dataset, as those may be a user's.
    """
    if "torch" not in sys.modules:
        return
    for name in LATE_IMPORTS:
        with suppress(ImportError):
            importlib.import_module(name)
    kinds = importlib.import_module("mcr_bench.bench.models.kinds")
    kinds.encoder_kinds()
    kinds.fusion_kinds()


def _print_to(job: Job) -> None:
    """Send what libraries print to the run's log: the terminal belongs to the parent's progress display."""
    log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
