"""A machine that is taken away: SIGTERM as from a scheduler, SIGHUP as from a terminal that has gone."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from mcr_bench.bench.core import interrupts
from mcr_bench.bench.core.interrupts import check, deferred, interrupted, remembered
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import Silent
from mcr_bench.cli import app
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.runs import kill_comparison as commands
from mcr_bench.tests.support.runs import pretended_training
from mcr_bench.tests.support.runs.pretended_training import epochs, row

pytestmark = pytest.mark.slow  # `make faults` makes these trials
FAULT = Fault(
    "SIGTERM or SIGHUP in mid-run, to the command or to all its processes, once or twice, wherever it is, and the home "
    "moved or copied to another place before the next start",
    "workers end, the last checkpoints stand, runs are marked as killed, exit code 143 or 129; the same command goes "
    "on there to the same table and the same curves, to the last digit",
)
SETTINGS = ["--methods", "joint", "--seeds", "2", "--set", "epochs=600", "--set", "patience=0"]
ENDINGS = [signal.SIGTERM, signal.SIGHUP]
fake, record, trace = pretended_training.fake, pretended_training.record, pretended_training.trace  # fixtures


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Those of a program that has just started; the same afterwards."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    assert {number: signal.signal(number, handler) for number, handler in before.items()} == usual


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
@pytest.mark.parametrize("swallowed", [False, True])
def test_a_command_ends_with_the_code_of_the_signal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int, code: int, swallowed: bool
) -> None:
    """swallowed: by a library, which some do while they are imported."""

    def rows(*_: object) -> list[Any]:
        with suppress(BaseException) if swallowed else suppress(ZeroDivisionError):
            signal.raise_signal(number)
        return []

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path))
    monkeypatch.setattr(Record, "rows", rows)
    done = CliRunner().invoke(app, ["results"])
    assert done.exit_code == code
    assert "Stopped" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", ENDINGS)
@pytest.mark.parametrize("times", [1, 2])
def test_runs_in_training_are_marked_as_killed_and_continued(
    fake: ModuleType, record: Record, trace: Path, number: int, times: int
) -> None:
    class Striking(Silent):
        def on_epoch(self, spec: Any, event: Any) -> None:
            for _ in range(times if event.epoch == 2 else 0):
                os.kill(os.getpid(), number)

    specs = [fake.Spec(f"struck {number} {times} {seed}", trace, seed=seed) for seed in range(2)]
    with pytest.raises(KeyboardInterrupt), remembered():
        pretended_training.run(specs, record, observer=Striking())
    assert not [child for child in multiprocessing.active_children() if child.name == "mcr-bench worker"]
    assert {row(record, spec).status for spec in specs} <= {"killed", "finished"}
    assert "killed" in {row(record, spec).status for spec in specs}
    left = [spec for spec in specs if row(record, spec).status == "killed"]
    assert pretended_training.run(left, record).failed == []
    assert [epochs(record, spec) for spec in specs] == [[1, 2, 3]] * 2


@pytest.mark.parametrize("number", ENDINGS)
def test_a_second_signal_does_not_disturb_the_end(number: int) -> None:
    ended = []

    def end() -> None:
        try:
            signal.raise_signal(number)
        finally:
            for again in (number, signal.SIGTERM, signal.SIGHUP):
                signal.raise_signal(again)
            ended.append(interrupted())

    with pytest.raises(KeyboardInterrupt), remembered():
        end()
    assert ended == [number]


@pytest.mark.parametrize("number", ENDINGS)
def test_a_signal_waits_while_a_process_starts(number: int) -> None:
    done = []

    def start() -> None:
        with remembered(), deferred():
            signal.raise_signal(number)
            done.append(True)

    with pytest.raises(KeyboardInterrupt):
        start()
    assert done


@pytest.mark.parametrize("number", ENDINGS)
def test_a_signal_that_is_ignored_or_somebody_elses_is_left_alone(number: int) -> None:
    """As SIGHUP is under nohup."""
    seen: list[int] = []
    for handler, times in ((signal.SIG_IGN, 0), (lambda got, _: seen.append(got), 1)):
        before = signal.signal(number, handler)
        with remembered():
            signal.raise_signal(number)
            check()
        assert seen == [number] * times
        signal.signal(number, before)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, commands.History]:
    home = tmp_path_factory.mktemp("calm") / "home"
    return commands.tables(commands.finish(home, SETTINGS)), commands.results(commands.history(home))


def _to_command(process: "subprocess.Popen[str]", number: int) -> None:
    process.send_signal(number)


def _to_all(process: "subprocess.Popen[str]", number: int) -> None:
    os.killpg(process.pid, number)


def _twice(process: "subprocess.Popen[str]", number: int) -> None:
    _to_all(process, number)
    time.sleep(0.3)
    with suppress(ProcessLookupError):
        _to_all(process, number)


def _stay(home: Path) -> Path:
    return home


def _move(home: Path) -> Path:
    return home.rename(home.with_name("moved"))


def _copy(home: Path) -> Path:
    return Path(shutil.copytree(home, home.parent / "another machine" / "home"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "strike", "then"),
    [
        (signal.SIGTERM, _to_command, _stay),
        (signal.SIGTERM, _to_all, _move),
        (signal.SIGTERM, _twice, _copy),
        (signal.SIGHUP, _to_all, _copy),
        (signal.SIGHUP, _to_command, _move),
    ],
)
def test_a_comparison_goes_on_elsewhere_to_the_same_bits(
    undisturbed: tuple[Any, commands.History],
    tmp_path: Path,
    number: int,
    strike: "Callable[[subprocess.Popen[str], int], None]",
    then: Callable[[Path], Path],
) -> None:
    home = tmp_path / "home"
    process = commands.start(home, SETTINGS)
    while not list(home.glob("work/*/checkpoint.pt")):
        assert process.poll() is None, "it has ended before it wrote a checkpoint"
        time.sleep(0.1)
    strike(process, number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert not _of_session(process.pid)
    home = then(home)
    assert commands.tables(commands.finish(home, SETTINGS)) == undisturbed[0]
    assert commands.results(commands.history(home)) == undisturbed[1]
    assert not commands.left_over(home)


@pytest.mark.unprotected
def test_sigterm_as_python_takes_it() -> None:
    """Without a handler SIGTERM ends the command at once, and its runs are left as running."""
    code = (
        "from mcr_bench.bench.core import interrupts; interrupts.STOPPING = []; import os, signal\n"
        "with interrupts.remembered():\n"
        "    try: os.kill(os.getpid(), signal.SIGTERM)\n"
        "    finally: print('in order')"
    )
    done = subprocess.run([commands.sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "")
    assert interrupts.STOPPING


def _of_session(session: int) -> list[str]:
    """The processes of a session that are left."""
    left = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            left += [stat.parent.name] if fields[3] == str(session) and fields[0] != "Z" else []
    return left
