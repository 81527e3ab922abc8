"""A run that takes all the memory of the group of processes that it enters."""

import os
from collections.abc import Callable
from pathlib import Path

from mcr_bench.bench.runs.events import Event, Job, RunDone


def train(job: Job, emit: Callable[[Event], None]) -> None:
    """behaviour of the run: the folder of the group, or `good` for none."""
    behaviour: str = job.spec.behaviour  # type: ignore[attr-defined]
    if behaviour != "good":
        (Path(behaviour) / "cgroup.procs").write_text(str(os.getpid()))
        kept = [b"x" * (16 << 20) for _ in range(100)]
        raise MemoryError(len(kept))
    job.predictions.write_text("predictions")
    emit(RunDone(job.spec.key, {"test/accuracy": 0.5}, 1.5))
