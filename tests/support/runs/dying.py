"""Runs whose process is ended at a moment of their choice; the result shows whether an epoch was lost or done twice."""

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.runs.events import EpochDone, Event, Job, RunDone
from mcr_bench.tests.support.records.run_rows import run_tags

EPOCHS = 4
MOMENTS = ("start", "epoch", "writing", "checkpoint", "told", "end")


@dataclass(frozen=True)
class Spec:
    """A run. how: what ends its process; moment: when; times: how often."""

    label: str
    how: str = ""
    moment: str = ""
    times: int = 1
    dependencies: tuple["Spec", ...] = ()
    dataset: str = "dying"
    seed: int = 0
    fold: int = 0

    @property
    def key(self) -> str:
        return hashlib.sha256(f"{self.label} {self.how} {self.moment}".encode()).hexdigest()[:20]

    def params(self) -> dict[str, str]:
        return {"how": self.how}

    def tags(self) -> dict[str, str]:
        return run_tags(self.label, self.seed, key=self.key, dataset=self.dataset, fold=self.fold)


def value_after(epochs: int) -> float:
    """What so many epochs, each once and in order, make of a number."""
    value = 1
    for epoch in range(1, epochs + 1):
        value = (31 * value + epoch) % 10_007
    return float(value)


def train(job: Job, emit: Callable[[Event], None]) -> None:
    spec: Any = job.spec
    checkpoint = job.folder / "checkpoint"
    state: dict[str, Any] = {"value": 1, "past": []}
    if checkpoint.exists():
        state = json.loads(checkpoint.read_text())
    at = _deaths(spec, job.folder)
    at("start", 2)
    for epoch, when in enumerate(state["past"], start=1):
        emit(_event(job, epoch, when))
    for epoch in range(len(state["past"]) + 1, EPOCHS + 1):
        state = {"value": (31 * state["value"] + epoch) % 10_007, "past": [*state["past"], time.time()]}
        at("epoch", epoch)
        if epoch == 2 and spec.moment == "writing":
            checkpoint.with_suffix(".partial").write_text('{"value": ')
        at("writing", epoch)
        write_whole(checkpoint, json.dumps(state))
        at("checkpoint", epoch)
        emit(_event(job, epoch, state["past"][-1]))
        at("told", epoch)
    job.predictions.write_text("predictions")
    job.weights_out.write_text("weights")
    at("end", 2)
    emit(RunDone(spec.key, {"test/accuracy": float(state["value"])}, 1.0))


def _event(job: Job, epoch: int, when: float) -> EpochDone:
    return EpochDone(job.spec.key, epoch, EPOCHS, {"loss": 1 / epoch}, when)


def _deaths(spec: Any, folder: Path) -> Callable[[str, int], None]:
    def at(moment: str, epoch: int) -> None:
        deaths = folder / "deaths"
        before = deaths.read_text() if deaths.exists() else ""
        if moment == spec.moment and epoch == 2 and len(before) < spec.times:
            deaths.write_text(f"{before}x")
            END[spec.how.partition(" ")[0]](spec.how.partition(" ")[2])

    return at


def _signal(name: str) -> None:
    os.kill(os.getpid(), signal.Signals[name])
    time.sleep(600)


def _signal_worker(name: str) -> None:
    """The worker that has forked this process."""
    os.kill(os.getppid(), signal.Signals[name])
    time.sleep(600)


def _exit(code: str) -> None:
    os._exit(int(code))


def _devour(group: str) -> None:
    """Take memory in a group of processes that may not have so much."""
    Path(group, "cgroup.procs").write_text(str(os.getpid()))
    held = []
    while len(held) < 4_000:
        held.append(os.urandom(2**20))


def _hang(place: str) -> None:
    """Hang for ever; where a place is given, only the first process that comes there."""
    if place and Path(place).exists():
        return
    if place:
        Path(place).touch()
    time.sleep(600)


END: dict[str, Callable[[str], None]] = {
    "signal": _signal,
    "worker": _signal_worker,
    "exit": _exit,
    "devour": _devour,
    "hang": _hang,
}
