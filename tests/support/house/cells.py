"""The cells of a tutorial or a notebook, run in this process as a notebook does; runs are trained in forks of it."""

import json
import multiprocessing
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType

import matplotlib.pyplot as plt
import pytest
from typer.testing import CliRunner

from mcr_bench.bench.api.results import Comparison
from mcr_bench.bench.executors import chosen
from mcr_bench.bench.executors.base import TrainingPlan
from mcr_bench.bench.executors.jobs import Jobs
from mcr_bench.bench.executors.worker import train_job
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import Job, Observer, Outcome
from mcr_bench.cli import app
from mcr_bench.tests.support.house.examples import ROOT

FORK = multiprocessing.get_context("fork")


class Forking:
    """An executor that trains one run at a time, in a fork of this process, which has imported everything."""

    def execute(self, plan: TrainingPlan, record: Record, observer: Observer) -> Outcome:
        with Jobs(plan, record, observer) as jobs:
            while jobs.go_on():
                job = jobs.next("cpu")
                assert job is not None
                self._train(jobs, job, plan.entry)
        return jobs.outcome

    def _train(self, jobs: Jobs, job: Job, entry: str) -> None:
        ours, theirs = FORK.Pipe(duplex=False)
        process = FORK.Process(target=_work, args=(entry, job, theirs), daemon=True)
        process.start()
        theirs.close()
        with suppress(EOFError):
            while True:
                jobs.take(job, ours.recv())
        process.join()
        jobs.fail(job, f"its process ended with exit code {process.exitcode}")  # without effect after the last event


def _work(entry: str, job: Job, pipe: Connection) -> None:
    pipe.send(train_job(entry, job, pipe.send))


@contextmanager
def notebook(folder: Path) -> Iterator[Callable[[str], None]]:
    """Runs cells one after the other, with names in common, in this folder and with a record of its own.

    Inside the block, a run that fails is an AssertionError.
    """
    main = ModuleType("__main__")
    cells: list[str] = []
    main.__dict__["In"] = cells

    def run(cell: str) -> None:
        cells.append(cell)
        if cell.startswith("!"):  # commands, as a notebook has them
            command(cell.replace("!", ""))
            return
        exec(compile(cell, f"cell {len(cells)}", "exec"), vars(main))
        compared = [one for one in vars(main).values() if isinstance(one, Comparison)]
        assert [failure.reason for one in compared for failure in one.failed] == []

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "__main__", main)
        patch.setitem(chosen.OURS, chosen.LOCAL, Forking)
        patch.setenv("MCR_BENCH_HOME", str(folder / "results"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(folder)
        yield run
    plt.close("all")


def as_script(text: str, folder: Path) -> None:
    """Run Python as a script in this folder; call it inside of a `notebook`, whose record it takes."""
    script = folder / "script.py"
    script.write_text(text, encoding="utf-8")
    main = ModuleType("__main__")
    main.__file__ = str(script)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "__main__", main)
        exec(compile(text, str(script), "exec"), vars(main))


def command(script: str) -> str:
    """What the commands of a block print; `mcr-bench` is called in this process."""
    printed = ""
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["mcr-bench"]:
            done = CliRunner().invoke(app, words[1:], catch_exceptions=False)
            assert done.exit_code == 0, done.output
            printed += done.stdout
        elif words:
            printed += subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return printed


def cells_of(path: str) -> list[str]:
    """The code of a notebook, given by its path below the root of the project, cell by cell."""
    cells = json.loads((ROOT / path).read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
