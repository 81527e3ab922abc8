"""Runs that hang once, each in a way of its own, and end well when they are started again."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable

from mcr_bench.bench.runs.events import EpochDone, Event, Job, RunDone


def _loop() -> None:
    while True:
        pass


def _deaf() -> None:
    """SIGTERM and Ctrl-C do nothing."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(600)


def _lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def _pipe() -> None:
    """As data on a network that is gone: a read that never returns."""
    os.read(os.pipe()[0], 1)


def _child() -> None:
    subprocess.run(["sleep", "600"], check=True)


def _stopped() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _in_c() -> None:
    """The interpreter's lock is held, so that no other thread of the process runs."""
    sum(range(1 << 62))


def _thread() -> None:
    threading.Thread(target=_loop).start()


def _swallowing() -> None:
    while True:
        try:
            time.sleep(600)
        except BaseException:  # of any kind: users' code does so
            continue


HANGS: dict[str, Callable[[], None]] = {
    "loops": _loop,
    "waits for a lock": _lock,
    "hears no signal": _deaf,
    "reads what never comes": _pipe,
    "waits for a process": _child,
    "is stopped": _stopped,
    "computes in C": _in_c,
    "swallows all errors": _swallowing,
}
KINDS = list(HANGS)


def train(job: Job, emit: Callable[[Event], None]) -> None:
    """One epoch, and then the hang that `behaviour` of the run names, if it is the first time."""
    spec, once = job.spec, job.folder / "hung"
    trace = spec.trace  # type: ignore[attr-defined]
    with trace.open("a") as file:
        file.write(f"{spec.label} pid {os.getpid()}\n")
    emit(EpochDone(spec.key, 1, 2, {"loss": 1.0}, time.time()))
    behaviour: str = spec.behaviour  # type: ignore[attr-defined]
    if behaviour in HANGS and not once.exists():
        once.touch()
        HANGS[behaviour]()
    job.predictions.write_text("predictions")
    job.weights_out.write_text("weights")
    with trace.open("a") as file:
        file.write(f"{spec.label} end\n")
    emit(RunDone(spec.key, {"test/accuracy": 0.5}, 1.5))
