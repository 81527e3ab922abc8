"""The processes of the local executor: dead workers, two commands at once, Ctrl-C and kills."""

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

import pytest

from mcr_bench.bench.executors import pool
from mcr_bench.bench.record.tracking import Record
from mcr_bench.tests.support.runs import pretended_training
from mcr_bench.tests.support.runs.pretended_training import ends, epochs, labels, row, run

fake, record, trace = pretended_training.fake, pretended_training.record, pretended_training.trace  # fixtures


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 600  # a busy machine may take minutes to start a process
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def gone(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


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
    assert {row(record, fake.Spec(name, trace)).status for name in names} == {"finished"}


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
    assert before.status == status
    assert run([spec], record).finished == [spec]
    assert (row(record, spec).run_id, row(record, spec).status) == (before.run_id, "finished")
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


def test_where_forks_are_unsafe_every_run_has_a_worker_of_its_own(
    fake: ModuleType, record: Record, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "FORKS", False)
    specs = [fake.Spec(f"spawned {i}", trace) for i in range(3)]
    assert run(specs, record, jobs=1).finished == specs
    started = [line.split()[-1] for line in trace.read_text().splitlines() if not line.endswith("end")]
    assert len(set(started)) == 3


def test_every_run_has_a_process_of_its_own(fake: ModuleType, record: Record, trace: Path) -> None:
    specs = [fake.Spec(f"forked {i}", trace) for i in range(3)]
    assert run(specs, record, jobs=1).finished == specs
    assert len({line.split()[-1] for line in trace.read_text().splitlines() if not line.endswith("end")}) == 3
