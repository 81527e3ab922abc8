"""A process that a run starts ends with the run, however the run or its command ends, and nobody waits for it."""

import os
import signal
from pathlib import Path
from types import ModuleType

import pytest

from mcr_bench.bench.executors.worker import FORKS
from mcr_bench.bench.record.tracking import Record
from mcr_bench.tests.bench.executors.test_executor_processes import gone, start_command, wait_for
from mcr_bench.tests.support.runs import pretended_training
from mcr_bench.tests.support.runs.pretended_training import run

fake, record, trace = pretended_training.fake, pretended_training.record, pretended_training.trace  # fixtures
pytestmark = pytest.mark.skipif(not FORKS, reason="here a run has no process under its worker")


def left(trace: Path) -> list[int]:
    """The processes that runs have started."""
    return [int(line.split()[-1]) for line in trace.read_text().splitlines() if " left " in line]


def test_it_ends_with_a_run_that_finishes(fake: ModuleType, record: Record, trace: Path) -> None:
    specs = [fake.Spec(f"leaves {i}", trace, "leave") for i in range(2)]
    assert run(specs, record, jobs=1).finished == specs
    assert [gone(pid) for pid in left(trace)] == [True, True]


def test_it_hides_no_death_of_its_run(fake: ModuleType, record: Record, trace: Path) -> None:
    (failure,) = run([fake.Spec("leaves and dies", trace, "leave and die")], record).failed
    assert failure.reason == "its worker process was ended by SIGKILL; out of memory?, 2 times"
    assert [gone(pid) for pid in left(trace)] == [True, True]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_it_ends_with_the_command(fake: ModuleType, record: Record, trace: Path, sent: signal.Signals) -> None:
    command = start_command(fake, record, trace, "leave and hang", f"stopped by {sent.name}")
    wait_for(lambda: left(trace))
    os.kill(command.pid, sent)
    command.communicate(timeout=600)
    wait_for(lambda: all(gone(pid) for pid in left(trace)))
