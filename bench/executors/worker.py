"""A worker process: takes jobs from a pipe, trains them one after the other, and sends back what happens."""

import faulthandler
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

from filelock import FileLock

from mcr_bench.bench.errors import UserError, in_words
from mcr_bench.bench.executors.events import Event, Job, RunDone, RunFailed

Entry = Callable[[Job, Callable[[Event], None]], None]


def work(pipe: Connection, entry: str) -> None:
    """Serve jobs until the pipe ends. `entry` is `module:function`, called with (job, emit); one torch thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    faulthandler.enable()
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    with suppress(Exception):  # imported while the parent is still busy; an error is reported with the first job
        _load(entry)
    with suppress(EOFError):
        while True:
            job = pipe.recv()
            pipe.send(_run(job, entry, pipe))


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
        return RunFailed(job.spec.key, traceback.format_exc(), in_words(error))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _load(entry: str) -> Entry:
    module, _, name = entry.partition(":")
    found: Entry = getattr(importlib.import_module(module), name)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    return found


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
