"""The local executor, with runs that only pretend to train: order, failures, dead workers, interrupts, two commands."""

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.executors.events import Silent
from mcr_bench.bench.executors.local import execute
from mcr_bench.bench.executors.pool import devices
from mcr_bench.bench.tracking import Record

FAKE = '''
import hashlib, os, signal, time
from dataclasses import dataclass
from pathlib import Path
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.executors.events import EpochDone, RunDone

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
    def tags(self): return {"key": self.key, "method": self.label, "dataset": self.dataset}

def note(spec, text):
    with spec.trace.open("a") as file:
        file.write(f"{text}\\n")

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
from mcr_bench.bench.tracking import Record
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


class Watch(Silent):
    def __init__(self) -> None:
        self.seen: list[object] = []

    def on_plan(self, total: int, done: int) -> None:
        self.seen.append((total, done))

    def on_start(self, spec: Any) -> None:
        self.seen.append(spec.label)

    def on_epoch(self, spec: Any, event: Any) -> None:
        self.seen.append(event.epoch)

    def on_end(self, spec: Any, status: str) -> None:
        self.seen.append((spec.label, status))


def run(specs: list[Any], record: Record, **options: Any) -> Any:
    return execute(specs, record, **{"jobs": 2, "device": "cpu", "entry": "fake_runs:train"} | options)


def labels(specs: list[Any]) -> list[str]:
    return [spec.label for spec in specs]


def row(record: Record, spec: Any) -> dict[str, Any]:
    return next(row for row in record.rows() if row["key"] == spec.key)


def epochs(record: Record, spec: Any) -> list[int]:
    return [m.step for m in record._client.get_metric_history(row(record, spec)["run_id"], "loss")]


def ends(trace: Path) -> list[str]:
    return [line.removesuffix(" end") for line in trace.read_text().splitlines() if line.endswith(" end")]


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 600  # a busy machine may take minutes to start a process
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def gone(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_runs_are_recorded_and_watched_and_leave_no_litter(fake: ModuleType, record: Record, trace: Path) -> None:
    spec, watch = fake.Spec("one", trace), Watch()
    outcome = run([spec], record, observer=watch, done=4)
    assert (outcome.finished, outcome.failed) == ([spec], [])
    assert watch.seen == [(5, 4), "one", 1, 2, 3, ("one", "finished")]
    found = row(record, spec)
    assert (found["status"], found["seconds"], found["tags"]["device"]) == ("finished", 1.5, "cpu")
    assert found["tags"]["version/python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["metrics"]["test/accuracy"] == 0.5
    assert epochs(record, spec) == [1, 2, 3]
    assert not (record.home / "work" / spec.key).exists()
    assert not (record.home / "locks" / f"{spec.key}.lock").exists()
    assert (record.home / "weights" / f"{spec.key}.pt").exists()


def test_the_next_command_cleans_up_after_one_killed_at_the_very_end(
    fake: ModuleType, record: Record, trace: Path
) -> None:
    ended, stopped = fake.Spec("ended", trace), fake.Spec("not ended", trace)
    run([ended], record)
    for spec in (ended, stopped):
        (record.home / "work" / spec.key).mkdir(parents=True)
        for name in (f"work/{spec.key}/checkpoint", f"locks/{spec.key}.lock", f"weights/{spec.key}.77.partial"):
            (record.home / name).touch()
    run([], record)
    assert list(record.home.glob(f"*/{ended.key}*")) == [record.home / "weights" / f"{ended.key}.pt"]
    assert len(list(record.home.glob(f"*/{stopped.key}*"))) == 3
    run([stopped], record)
    assert list(record.home.glob(f"*/{stopped.key}*")) == [record.home / "weights" / f"{stopped.key}.pt"]


def test_dependencies_come_first_and_are_shared(fake: ModuleType, record: Record, trace: Path) -> None:
    first, second = fake.Spec("first", trace), fake.Spec("second", trace)
    both = fake.Spec("both", trace, dependencies=(first, second))
    chain = fake.Spec("chain", trace, dependencies=(both, first))
    outcome = run([chain, both, first, second], record, keep_weights=lambda _: False)
    assert sorted(labels(outcome.finished)[:2]) == ["first", "second"]
    assert labels(outcome.finished)[2:] == ["both", "chain"]
    assert len(ends(trace)) == 4
    assert not (record.home / "weights" / f"{chain.key}.pt").exists()
    assert (record.home / "weights" / f"{first.key}.pt").exists()


def test_a_dependency_whose_weights_are_gone_is_trained_again(fake: ModuleType, record: Record, trace: Path) -> None:
    base = fake.Spec("base", trace)
    run([base], record)
    (record.home / "weights" / f"{base.key}.pt").unlink()
    outcome = run([fake.Spec("dependent", trace, dependencies=(base,))], record)
    assert labels(outcome.finished) == ["base", "dependent"]


def test_failures_stay_alone_but_take_their_dependents(fake: ModuleType, record: Record, trace: Path) -> None:
    bad = fake.Spec("bad", trace, "raise")
    needs = fake.Spec("needs bad", trace, dependencies=(bad,))
    specs = [bad, needs, fake.Spec("deeper", trace, dependencies=(needs,)), fake.Spec("good", trace)]
    specs += [
        fake.Spec("wrong", trace, "refuse"),
        fake.Spec("mute", trace, "silent"),
        fake.Spec("lost", trace, "no predictions"),
    ]
    outcome = run(specs, record)
    reasons = {failure.spec.label: failure.reason for failure in outcome.failed}
    assert labels(outcome.finished) == ["good"]
    assert reasons["bad"] == "ValueError: bad luck"
    assert reasons["wrong"] == "no such thing. Bring one."
    assert reasons["needs bad"] == "needs bad, which failed"
    assert reasons["deeper"] == "needs needs bad, which failed"
    assert "without saying" in reasons["mute"]
    assert "could not be recorded" in reasons["lost"]
    assert {row(record, spec)["status"] for spec in (bad, *specs[-2:])} == {"failed"}
    log = next(failure.log for failure in outcome.failed if failure.spec is bad).read_text()
    assert "on the way" in log
    assert "bad luck" in log


def test_a_dead_worker_is_replaced_and_its_run_goes_on(fake: ModuleType, record: Record, trace: Path) -> None:
    once, always, good = (fake.Spec(b, trace, b) for b in ("die once", "die", "good"))
    outcome = run([once, always, good], record)
    assert set(labels(outcome.finished)) == {"die once", "good"}
    assert [(f.spec.label, f.reason) for f in outcome.failed] == [
        ("die", "its worker process was ended by SIGKILL; out of memory?, 2 times")
    ]
    starts = [
        line.split()[-2] for line in trace.read_text().splitlines() if line.startswith("die once") and "end" not in line
    ]
    assert starts == ["0", "1"]  # epochs in the checkpoint
    assert epochs(record, once) == [1, 2, 3]


def test_an_entry_that_cannot_be_imported_fails_the_run(fake: ModuleType, record: Record, trace: Path) -> None:
    outcome = run([fake.Spec("lonely", trace)], record, entry="fake_runs:no_such_function")
    assert "no_such_function" in outcome.failed[0].reason


def test_finished_meanwhile_is_not_trained_and_force_trains(fake: ModuleType, record: Record, trace: Path) -> None:
    spec = fake.Spec("again", trace)
    for force, times in ((False, 1), (False, 1), (True, 2)):
        assert run([spec], record, force=force).finished == [spec]
        assert len(ends(trace)) == times


def start_command(
    fake: ModuleType, record: Record, trace: Path, behaviour: str, *names: str
) -> "subprocess.Popen[str]":
    folder = Path(str(fake.__file__)).parent
    command = [sys.executable, str(folder / "command.py"), str(folder), str(record.home), str(trace), behaviour, *names]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_two_commands_train_each_key_once(fake: ModuleType, record: Record, trace: Path) -> None:
    names = [f"shared{i}" for i in range(6)]
    commands = [start_command(fake, record, trace, "good", *names) for _ in range(2)]
    assert [command.communicate(timeout=600)[0] for command in commands] == ["", ""]
    assert [command.returncode for command in commands] == [0, 0]
    assert sorted(ends(trace)) == names
    assert {row(record, fake.Spec(name, trace))["status"] for name in names} == {"finished"}


@pytest.mark.parametrize(
    ("sent", "status", "said"), [(signal.SIGINT, "killed", "interrupted\n"), (signal.SIGKILL, "running", "")]
)
def test_a_stopped_command_leaves_no_worker_and_is_resumed(
    fake: ModuleType, record: Record, trace: Path, sent: signal.Signals, status: str, said: str
) -> None:
    spec = fake.Spec("stopped", trace, "hang once")
    command = start_command(fake, record, trace, "hang once", "stopped")
    wait_for((record.home / "work" / spec.key / "hung").exists)
    worker = int(trace.read_text().split()[-1])
    assert not gone(worker)
    os.kill(command.pid, sent)
    assert command.communicate(timeout=600)[0] == said
    wait_for(lambda: gone(worker))
    before = row(record, spec)
    assert before["status"] == status
    assert run([spec], record).finished == [spec]
    assert (row(record, spec)["run_id"], row(record, spec)["status"]) == (before["run_id"], "finished")
    assert epochs(record, spec) == [1, 2, 3]


def test_ctrl_c_while_workers_start_is_not_lost(
    fake: ModuleType, record: Record, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start: Callable[[SpawnProcess], None] = SpawnProcess.start

    def struck(process: SpawnProcess) -> None:
        start(process)
        signal.raise_signal(signal.SIGINT)

    spec = fake.Spec("not yet", trace)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell's background tests
    with monkeypatch.context() as patch:
        patch.setattr(SpawnProcess, "start", struck)
        with pytest.raises(KeyboardInterrupt):
            run([spec], record)
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler
    assert trace.read_text() == ""
    assert not [child for child in multiprocessing.active_children() if child.name == "mcr-bench worker"]
    assert run([spec], record).finished == [spec]


def test_a_worker_is_deaf_to_ctrl_c_from_its_first_moment(
    fake: ModuleType, record: Record, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start: Callable[[SpawnProcess], None] = SpawnProcess.start
    started = []

    def struck(process: SpawnProcess) -> None:
        start(process)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
        started.append(process.pid)

    monkeypatch.setattr(SpawnProcess, "start", struck)
    spec = fake.Spec("deaf", trace)
    assert run([spec], record).finished == [spec]
    assert len(started) == 1


def test_devices() -> None:
    assert devices("cpu", 2) == ["cpu", "cpu"]
    for choice in ("gpu", "cuda:x"):
        with pytest.raises(UserError, match=choice):
            devices(choice, 1)


@pytest.mark.parametrize(
    ("choice", "gpus", "expected"),
    [
        ("auto", 2, ["cuda:0", "cuda:1", "cuda:0"]),
        ("auto", 0, ["cpu"] * 3),
        ("cuda:1", 2, ["cuda:1"] * 3),
        ("cuda", 1, ["cuda:0"] * 3),
    ],
)
def test_workers_are_dealt_over_gpus(
    monkeypatch: pytest.MonkeyPatch, choice: str, gpus: int, expected: list[str]
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    assert devices(choice, 3) == expected


@pytest.mark.parametrize(("choice", "gpus"), [("cuda", 0), ("cuda:2", 2)])
def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, choice: str, gpus: int) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    with pytest.raises(UserError, match=choice):
        devices(choice, 1)
