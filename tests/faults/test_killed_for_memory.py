"""A worker that the system kills because memory is short."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mcr_bench.bench.core.faults import killed
from mcr_bench.bench.core.faults.killed import memory_kills
from mcr_bench.bench.core.workers.pool import Died, Worker
from mcr_bench.bench.executors.pool import cause_of
from mcr_bench.bench.record.tracking import Record
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.runs import pretended_training, starving

pytestmark = pytest.mark.slow  # `make faults` makes these trials
FAULT = Fault(
    "the system kills a worker because memory is short: of the machine, of a container, of a scheduler's group, in "
    "either form of its counters, or something else kills it",
    "the run fails with that reason and what needs less memory, where the system counts such kills; else with the name "
    "of the signal and a question; the other runs go on",
)
VMSTAT = "nr_free_pages 10\noom_kill {}\nzswpin 0\n"
fake, record, trace = pretended_training.fake, pretended_training.record, pretended_training.trace  # fixtures


class Gone:
    """A process that has ended."""

    def __init__(self, code: int) -> None:
        self.exitcode = code

    def join(self, timeout: float | None = None) -> None:
        pass


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system whose counters are files of this folder."""
    monkeypatch.setattr(killed, "MACHINE", tmp_path / "vmstat")
    monkeypatch.setattr(killed, "GROUP", tmp_path / "cgroup")
    monkeypatch.setattr(killed, "OWN_GROUPS", tmp_path / "own")
    return tmp_path


def _machine(folder: Path, count: int) -> None:
    (folder / "vmstat").write_text(VMSTAT.format(count))


def _group(folder: Path, count: int) -> None:
    _own(folder, "0::/job_3/step_0", "cgroup/job_3/step_0/memory.events", f"low 0\noom 3\noom_kill {count}\n")


def _old_group(folder: Path, count: int) -> None:
    text = f"oom_kill_disable 0\nunder_oom 0\noom_kill {count}\n"
    _own(folder, "4:memory:/slurm/uid_0", "cgroup/memory/slurm/uid_0/memory.oom_control", text)


def _container(folder: Path, count: int) -> None:
    _own(folder, "0::/", "cgroup/memory.events", f"oom_kill {count}\n")


def _own(folder: Path, line: str, place: str, text: str) -> None:
    (folder / "own").write_text(f"9:name=systemd:/\n{line}\n")
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).write_text(text)


@pytest.mark.parametrize("place", [_machine, _group, _old_group, _container])
@pytest.mark.parametrize(("before", "after"), [(0, 1), (7, 9)])
def test_a_kill_that_the_system_counted_is_told_as_that(system: Path, place: Any, before: int, after: int) -> None:
    place(system, before)
    worker = _worker(-signal.SIGKILL)
    place(system, after)
    cause = cause_of(worker.death())
    assert "because memory was short" in cause
    assert "--jobs" in cause
    assert "batch_size" in cause


@pytest.mark.parametrize("place", [_machine, _group])
def test_a_kill_that_was_not_counted_is_a_question(system: Path, place: Any) -> None:
    place(system, 4)
    assert cause_of(_worker(-signal.SIGKILL).death()) == "its worker process was ended by SIGKILL; out of memory?"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_another_end_while_memory_was_short_is_told_as_it_was(system: Path, number: int) -> None:
    _machine(system, 0)
    worker = _worker(-number)
    _machine(system, 1)
    assert cause_of(worker.death()) == f"its worker process was ended by {signal.Signals(number).name}"


@pytest.mark.parametrize("text", ["", "oom_kill\n", "oom_kill many\n", "oom_killer 3\n"])
def test_counters_that_tell_nothing_count_nothing(system: Path, text: str) -> None:
    _own(system, "0::/", "cgroup/memory.events", text)
    assert memory_kills() == 0
    (system / "own").write_text("nonsense\n0:\n")
    assert memory_kills() == 0


@pytest.fixture
def group() -> Iterator[Path]:
    """A group of processes that may have 400 MB. Skips where it cannot be made."""
    own = Path("/proc/self/cgroup").read_text().splitlines() if Path("/proc/self/cgroup").exists() else []
    parents = [killed.GROUP / "memory" / line.split(":", 2)[2].strip("/") for line in own if ":memory:" in line]
    if not parents or not os.access(parents[0], os.W_OK) or not (parents[0] / "memory.limit_in_bytes").exists():
        pytest.skip("a group of processes with a limit of memory cannot be made here")
    folder = parents[0] / f"mcr-bench-{os.getpid()}"
    folder.mkdir()
    try:
        (folder / "memory.limit_in_bytes").write_text(str(400 << 20))
        yield folder
    finally:
        with suppress(OSError):
            folder.rmdir()


@pytest.mark.slow
def test_a_run_that_takes_all_memory_of_its_group_fails_and_others_go_on(
    fake: ModuleType, record: Record, trace: Path, group: Path
) -> None:
    specs = [fake.Spec("greedy", trace, str(group)), fake.Spec("modest", trace)]
    outcome = pretended_training.run(specs, record, entry=f"{starving.__name__}:train", jobs=1)
    assert outcome.finished == specs[1:]
    assert "because memory was short" in outcome.failed[0].reason
    assert "oom_kill 2" in (group / "memory.oom_control").read_text()


@pytest.mark.unprotected
def test_counters_that_nobody_reads(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the counters a user has to guess why a worker was killed."""
    _machine(system, 0)
    monkeypatch.setattr(killed, "_count", lambda _: 0)
    worker = _worker(-signal.SIGKILL)
    _machine(system, 1)
    assert cause_of(worker.death()).endswith("out of memory?")


def test_a_death_says_what_it_always_said() -> None:
    assert cause_of(Died(3, silent=False)) == "its worker process exited with code 3"


def _worker(code: int) -> Worker[Any, Any]:
    return Worker(lambda _: Gone(code))  # type: ignore[arg-type, return-value]
