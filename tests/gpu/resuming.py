"""A run that was killed with SIGKILL goes on from its checkpoint to the same bits."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mcr_bench.bench.runs.events import Event, Job
from mcr_bench.bench.training.loop import fit_run
from mcr_bench.tests.gpu.checks import Place
from mcr_bench.tests.gpu.staying import train_staying
from mcr_bench.tests.gpu.training import array_file, planned, require_equal, train

MODULE = "mcr_bench.tests.gpu.resuming"  # not __name__, which is another one in the command that is killed
ENTRY = f"{MODULE}:often_saved"
SETTINGS = {"patience": "0", "ties": "first"}
PATIENCE = 120.0  # seconds until the first checkpoint


def often_saved(job: Job, emit: Callable[[Event], None]) -> None:
    """Train a job with a checkpoint after every epoch, and epochs that take a moment, so that a kill can hit them."""

    def slowly(event: Event) -> None:
        emit(event)
        time.sleep(0.05)

    fit_run(job, slowly, checkpoint_seconds=0.0)


def killed(place: Place) -> str:
    """Kill -9 of a command and its workers after a checkpoint; weights and predictions are those of a calm run."""
    file, epochs = array_file(place.folder), 12 if place.small else 20
    methods = ["joint"] if place.small else ["mcr"]
    calm, disturbed = place.folder / "calm", place.folder / "disturbed"
    arguments = [str(disturbed), place.name, str(file), str(epochs), *methods]
    process = subprocess.Popen([sys.executable, "-m", MODULE, *arguments], start_new_session=True)
    try:
        _until_saved(disturbed, process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the training had ended before it could be killed"
    saved = len(list(disturbed.glob("work/*/checkpoint.pt")))
    assert saved, "no checkpoint was left to go on from"
    plan = planned(methods, str(file), 1, epochs=str(epochs), **SETTINGS)
    second = train(plan, disturbed, place.name, deterministic=True)
    second.require_finished(len(plan.runs))
    first = train_staying(plan.runs, calm, place, deterministic=True)
    require_equal(first, second, [spec.key for spec in plan.runs])
    epochs_of = {key: done.metrics["epochs"] for key, done in first.done.items()}
    assert {key: row.metrics["epochs"] for key, row in second.rows().items()} == epochs_of, "other epochs were logged"
    return f"{len(plan.runs)} runs, {saved} of them went on from a checkpoint"


def _until_saved(home: Path, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + PATIENCE
    while not list(home.glob("work/*/checkpoint.pt")):
        assert process.poll() is None, f"the training ended with exit code {process.returncode} before a checkpoint"
        assert time.monotonic() < until, f"no checkpoint within {PATIENCE:.0f} s"
        time.sleep(0.02)


def main(home: str, device: str, file: str, epochs: str, *methods: str) -> None:
    """The command that is killed."""
    plan = planned(methods, file, 1, epochs=epochs, **SETTINGS)
    train(plan, Path(home), device, entry=ENTRY, deterministic=True).require_finished(len(plan.runs))


if __name__ == "__main__":
    main(*sys.argv[1:])
