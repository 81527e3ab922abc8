"""Runs that only pretend to train, and a record for them: what the tests of the local executor share."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from mcr_bench.bench.executors.base import TrainingPlan
from mcr_bench.bench.executors.jobs import Jobs
from mcr_bench.bench.executors.local import execute
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import Job, Silent

FAKE = '''
import hashlib, os, signal, time
from dataclasses import dataclass
from pathlib import Path
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.runs.events import EpochDone, RunDone
from mcr_bench.tests.support.records.run_rows import run_tags

@dataclass(frozen=True)
class Spec:
    label: str
    trace: Path
    behaviour: str = "good"
    dependencies: tuple = ()
    dataset: str = "executor"
    seed: int = 0
    fold: int = 0
    @property
    def key(self): return hashlib.sha256(f"{self.label} {self.trace}".encode()).hexdigest()[:20]
    def params(self): return {"behaviour": self.behaviour}
    def tags(self): return run_tags(self.label, self.seed, key=self.key, dataset=self.dataset, fold=self.fold)

def note(spec, text):
    with spec.trace.open("a") as file:
        file.write(f"{text}\\n")

def left_behind(spec, then):
    """A process that holds every pipe open; `then` is what the run does next."""
    left = os.fork()
    if not left:
        time.sleep(600)
        os._exit(0)
    note(spec, f"{spec.label} left {left}")
    if then == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if then == "hang":
        time.sleep(600)

def train(job, emit):
    """Three epochs; the epochs in the checkpoint are emitted again. `behaviour` is what happens in the second epoch."""
    spec, checkpoint, what = job.spec, job.folder / "checkpoint", job.spec.behaviour
    history = checkpoint.read_text().split() if checkpoint.exists() else []
    note(spec, f"{spec.label} {len(history)} {os.getpid()}")
    for path in job.weights.values():
        assert path.read_text() == "weights"
    for epoch in (1, 2, 3):
        if epoch > len(history):
            if epoch == 2 and what == "raise":
                print("on the way")
                raise ValueError("bad luck")
            if epoch == 2 and what == "refuse":
                raise UserError("no such thing. Bring one.")
            if epoch == 2 and (what == "die" or what == "die once" and not (job.folder / "died").exists()):
                (job.folder / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if epoch == 2 and what == "hang once" and not (job.folder / "hung").exists():
                (job.folder / "hung").touch()
                time.sleep(600)
            if epoch == 2 and what == "hang far away" and "hangs" not in spec.trace.read_text():
                note(spec, f"{spec.label} hangs")
                time.sleep(600)
            if epoch == 2 and what.startswith("leave"):
                left_behind(spec, what.removeprefix("leave and "))
            time.sleep(0.05)
            history.append(str(time.time()))
            checkpoint.write_text(" ".join(history))
        emit(EpochDone(spec.key, epoch, 3, {"loss": 1 / epoch}, float(history[epoch - 1])))
    if what == "silent":
        return
    if what != "no predictions":
        job.predictions.write_text("predictions")
    job.weights_out.write_text("weights")
    note(spec, f"{spec.label} end")
    emit(RunDone(spec.key, {"test/accuracy": 0.5}, 1.5, {"device": job.device}))
'''
COMMAND = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fake_runs import Spec
from mcr_bench.bench.executors.local import execute
from mcr_bench.bench.record.tracking import Record
if __name__ == "__main__":
    specs = [Spec(name, Path(sys.argv[3]), sys.argv[4]) for name in sys.argv[5:]]
    try:
        execute(specs, Record(home=Path(sys.argv[2])), jobs=2, device="cpu", entry="fake_runs:train")
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("modules")
    (folder / "fake_runs.py").write_text(FAKE)
    (folder / "command.py").write_text(COMMAND)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.delitem(sys.modules, "fake_runs", raising=False)  # of another file of tests
        yield importlib.import_module("fake_runs")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield Record(home=tmp_path_factory.mktemp("home"))


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    (tmp_path / "trace").touch()
    return tmp_path / "trace"


def run(specs: list[Any], record: Record, **options: Any) -> Any:
    return execute(specs, record, **{"jobs": 2, "device": "cpu", "entry": "fake_runs:train"} | options)


def labels(specs: list[Any]) -> list[str]:
    return [spec.label for spec in specs]


def row(record: Record, spec: Any) -> RunRow:
    return next(row for row in record.rows() if row.key == spec.key)


def epochs(record: Record, spec: Any) -> list[int]:
    return [m.step for m in record.client.get_metric_history(row(record, spec).run_id, "loss")]


def ends(trace: Path) -> list[str]:
    return [line.removesuffix(" end") for line in trace.read_text().splitlines() if line.endswith(" end")]


def jobs_of(record: Record, *specs: Any) -> Jobs:
    """The jobs of these runs, on a CPU, which nobody watches."""
    return Jobs(TrainingPlan(specs, device="cpu"), record, Silent())


def begun(jobs: Jobs) -> Job:
    """The next job, which a worker would train now."""
    job = jobs.next("cpu")
    assert job is not None
    return job
