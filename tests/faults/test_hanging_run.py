"""A run that hangs."""

import os
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.executors import watches
from mcr_bench.bench.executors.jobs import Jobs
from mcr_bench.bench.executors.watches import LONGER, SILENCE, Watches
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import Silent
from mcr_bench.bench.settings.arguments import duration_text, parse_duration
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.runs import hanging, pretended_training
from mcr_bench.tests.support.runs.hanging import KINDS
from mcr_bench.tests.support.runs.pretended_training import ends, row

pytestmark = pytest.mark.slow  # `make faults` makes these trials
FAULT = Fault(
    "a run hangs: an endless loop in a method, a lock that is never free, data that never comes, a process that waits "
    "for another one, a worker that is stopped",
    "a line after five minutes of silence (after three times its longest silence, where epochs take longer); with "
    "`--timeout 2h` its process is ended, the run fails with that reason, the others go on, and the same command "
    "continues it from its last checkpoint",
)
ENTRY = f"{hanging.__name__}:train"
fake, record, trace = pretended_training.fake, pretended_training.record, pretended_training.trace  # fixtures


class Noting(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def on_note(self, spec: Any, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize("kind", [pytest.param(k, marks=[] if k in KINDS[:2] else pytest.mark.slow) for k in KINDS])
def test_a_run_that_hangs_fails_after_its_time_and_the_others_go_on(
    fake: ModuleType, record: Record, trace: Path, kind: str
) -> None:
    hung, good = fake.Spec(f"hung {kind}", trace, kind), fake.Spec(f"good {kind}", trace)
    outcome = pretended_training.run([hung, good], record, entry=ENTRY, timeout=3.0, jobs=1)
    assert outcome.finished == [good]
    assert [failure.spec for failure in outcome.failed] == [hung]
    assert "--timeout 3s" in outcome.failed[0].reason
    assert (row(record, hung).status, row(record, hung).failure) == ("failed", outcome.failed[0].reason)
    assert not [pid for pid in _pids(trace, hung) if _lives(pid)]
    again = pretended_training.run([hung], record, entry=ENTRY, timeout=60.0)  # it hangs once
    assert again.finished == [hung]
    assert ends(trace) == [good.label, hung.label]


def test_a_run_that_ends_in_time_is_left_alone(fake: ModuleType, record: Record, trace: Path) -> None:
    specs = [fake.Spec(f"quick {number}", trace) for number in range(3)]
    assert pretended_training.run(specs, record, timeout=600.0).failed == []


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_user_is_told_of_silence_at_growing_distances(count: int) -> None:
    now = [0.0]
    watched = Watches(clock=lambda: now[0])
    watched.begin("a")
    told = []
    while now[0] < SILENCE * 2**count - 1:
        now[0] += 1
        told += watched.silent()
    assert [key for key, _ in told] == ["a"] * count
    assert told[0] == ("a", SILENCE)


@pytest.mark.parametrize("epoch", [10.0, 200.0, 1000.0])
def test_epochs_that_take_long_are_no_silence(epoch: float) -> None:
    now = [0.0]
    watched = Watches(clock=lambda: now[0])
    watched.begin("a")
    now[0] = epoch
    watched.hear("a")
    for _ in range(5):
        now[0] += 1.5 * epoch
        assert not watched.silent() or 1.5 * epoch >= SILENCE > LONGER * epoch
        watched.hear("a")


def test_silence_is_told_with_what_to_do(
    fake: ModuleType, record: Record, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "SILENCE", 1.0)
    monkeypatch.setattr(watches, "LONGER", 0.0)
    noting = Noting()
    spec = fake.Spec("silent", trace, KINDS[0])
    pretended_training.run([spec], record, entry=ENTRY, timeout=6.0, observer=noting)
    assert noting.notes
    assert "--timeout" in noting.notes[0]
    assert "log.txt" in noting.notes[0]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1d", 86400), ("1.5h", 5400), ("90", 90)],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration("--timeout", text) == seconds
    assert parse_duration("--timeout", duration_text(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-5m", "soon", "5 parsecs", "1h-", "nan", "inf", "1e99999h", "٣h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"--timeout .*90s, 30m"):
        parse_duration("--timeout", text)


@pytest.mark.unprotected
def test_no_limit(fake: ModuleType, record: Record, trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a limit the command waits for ever: it was still waiting when the test ended it."""
    waited = []

    def go_on(_: Jobs) -> bool:
        waited.append(time.monotonic())
        if waited[-1] - waited[0] > 8:
            raise TimeoutError
        return True

    monkeypatch.setattr(Jobs, "go_on", go_on)
    with pytest.raises(TimeoutError):
        pretended_training.run([fake.Spec("for ever", trace, KINDS[0])], record, entry=ENTRY)


def _pids(trace: Path, spec: Any) -> list[int]:
    return [int(line.split()[-1]) for line in trace.read_text().splitlines() if line.startswith(f"{spec.label} pid")]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
