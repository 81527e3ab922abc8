"""Another program holds the database, or the lock of the record's file."""

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from threading import Thread

import pytest
from filelock import FileLock

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.record import tracking
from mcr_bench.bench.record.database import patience, turns
from mcr_bench.bench.record.database.patience import Patience
from mcr_bench.bench.record.tracking import Record
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.records.homes import ASKED, COMPARE, call, copy_of, make_home, without_scores
from mcr_bench.tests.support.records.many_runs import specs

FAULT = Fault(
    "Another program holds the record's database, or another command the lock of its file",
    "A line on stderr after 3 s and, if the other one goes on, an error in one sentence after 60 s; Ctrl-C ends it",
)
FORGET = ("forget", "--method", "joint", "--yes")
COMMANDS = {
    "results": ("results",),
    "compare": COMPARE,
    "verify": ("results", "--verify"),
    "plan": ("run", *ASKED, "--plan"),
    "forget": FORGET,
}
WHERE = [pytest.param(name, marks=[] if name in ("results", "forget") else pytest.mark.slow) for name in COMMANDS]
HOLDER = """
import sqlite3, sys
file, *statements = sys.argv[1:]
connection = sqlite3.connect(file, isolation_level=None)
for statement in statements:
    connection.execute(statement)
print("held", flush=True)
sys.stdin.read()
connection.close()
"""
CHANGE = "UPDATE tags SET value = value || ' ' WHERE key <> 'key'"
HALF_WRITTEN = ("PRAGMA journal_mode=DELETE", "PRAGMA cache_size=1", "BEGIN EXCLUSIVE", CHANGE)
HOLDERS = {
    "about to write": ("BEGIN IMMEDIATE", CHANGE),
    "a log to itself": ("PRAGMA locking_mode=EXCLUSIVE", "BEGIN EXCLUSIVE", CHANGE),
    "half written": HALF_WRITTEN,
}
Release = Callable[[], None]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("locked"))


@pytest.fixture
def home(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copy_of(template, tmp_path / "home", monkeypatch)


@contextmanager
def held(home: Path, statements: Sequence[str], file: str = "mlflow.db") -> Iterator[Release]:
    """Inside the block another program has a database open after these statements, until what is given is called."""
    command = [sys.executable, "-c", HOLDER, str(home / file), *statements]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        try:
            assert holder.stdout.readline() == "held\n"
            yield holder.stdin.close
        finally:
            holder.kill()


@pytest.fixture
def until_told(monkeypatch: pytest.MonkeyPatch) -> Callable[[Release], None]:
    """Takes what lets the other program go on: it does when a command has said that it waits, whatever time it is."""

    def patient(release: Release) -> None:
        def make(note: Callable[[str], object]) -> Patience:
            return Patience(lambda line: (note(line), release()), told_after=0.0)

        monkeypatch.setattr(tracking, "Patience", make)

    return patient


@pytest.fixture
def _soon_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "Patience", partial(Patience, at_most=0.5, told_after=0.1))


@pytest.mark.parametrize("command", WHERE)
def test_a_command_says_for_what_it_waits_and_goes_on(
    home: Path, command: str, until_told: Callable[[Release], None]
) -> None:
    before = call(*COMMANDS[command]).stdout if command != "forget" else "2 runs hidden"
    with held(home, HALF_WRITTEN) as release:
        until_told(release)
        done = call(*COMMANDS[command])
    assert before in done.stdout
    line = next(line for line in done.stderr.splitlines() if "waiting" in line)
    for part in ("mlflow.db", "locked by another program", "at most 60 seconds"):
        assert part in line


@pytest.mark.usefixtures("_soon_over")
@pytest.mark.parametrize("command", WHERE)
def test_a_command_ends_after_the_stated_time(home: Path, command: str) -> None:
    with held(home, HALF_WRITTEN):
        done = call(*COMMANDS[command], code=2)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    for part in ("mlflow.db", "locked by another program", "0.5 seconds", "Try again"):
        assert part in line


@pytest.mark.usefixtures("_soon_over")
@pytest.mark.parametrize("holder", ["about to write", "a log to itself"])
@pytest.mark.parametrize("reader", ["results", pytest.param("compare", marks=pytest.mark.slow)])
def test_nobody_waits_for_a_program_that_has_written_nothing_yet(home: Path, reader: str, holder: str) -> None:
    before = call(*COMMANDS[reader]).stdout
    with held(home, HOLDERS[holder]):
        done = call(*COMMANDS[reader])
    assert (done.stdout, "waiting" in done.stderr) == (before, False)


@pytest.mark.parametrize("statements", [HALF_WRITTEN[:-1], ("BEGIN IMMEDIATE",)], ids=["all of it", "writing"])
def test_scores_are_read_from_the_predictions_where_the_cache_is_held(home: Path, statements: Sequence[str]) -> None:
    without_scores(home)
    before = call(*COMPARE).stdout
    with held(home, statements, "cache/samples.db"):
        assert call(*COMPARE).stdout == before


@pytest.fixture(params=["until told", "for ever"])
def for_ever(request: pytest.FixtureRequest) -> bool:
    """Whether the other program goes on for ever, which a command waits for half a second."""
    if request.param == "for ever":
        request.getfixturevalue("_soon_over")
    return bool(request.param == "for ever")


def test_a_run_waits_for_the_lock_of_the_file(
    home: Path, for_ever: bool, until_told: Callable[[Release], None]
) -> None:
    lock, notes = FileLock(home / "mlflow.db.lock", thread_local=False), list[str]()
    if not for_ever:
        until_told(lock.release)
    record = Record(home=home, note=notes.append)
    with lock, pytest.raises(UserError, match=r"for 0\.5 seconds") if for_ever else nullcontext():
        assert record.start(next(specs(1, 1, 1)))
    assert any("being written by another command: waiting" in note for note in notes)


def test_another_command_waits_for_the_lock_of_the_file(
    home: Path, for_ever: bool, until_told: Callable[[Release], None]
) -> None:
    lock = FileLock(home / "mlflow.db.lock", thread_local=False)
    if not for_ever:
        until_told(lock.release)
    with lock:
        told = call(*FORGET, code=2 if for_ever else 0).stderr
    assert "being written by another command: waiting" in told
    assert ("for 0.5 seconds" in told) == for_ever


@pytest.mark.parametrize("moment", ["before it opens it", "while it trains"])
@pytest.mark.parametrize(
    "holder", [pytest.param(name, marks=pytest.mark.slow if name == "half written" else []) for name in HOLDERS]
)
def test_a_run_waits_for_the_database(
    home: Path, holder: str, moment: str, for_ever: bool, until_told: Callable[[Release], None]
) -> None:
    let_go, notes = list[Release](), list[str]()
    if not for_ever:
        until_told(lambda: let_go[0]())
    record, spec = Record(home=home, note=notes.append), next(specs(1, 1, 1))
    if moment == "while it trains":
        record.start(spec)
        record.client._tracking_client.store.engine.dispose()  # so that the other program may have it for itself
    with (
        held(home, HOLDERS[holder]) as release,
        pytest.raises(UserError, match=r"for 0\.5 seconds") if for_ever else nullcontext(),
    ):
        let_go.append(release)
        record.start(spec) if moment == "before it opens it" else record.fail(spec, "ValueError: wrong")
    assert any("locked by another program: waiting" in note for note in notes)


@pytest.mark.slow
def test_ctrl_c_is_answered_while_a_command_waits(home: Path) -> None:
    with held(home, HALF_WRITTEN):
        command = [sys.executable, "-m", "mcr_bench.cli", "results"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as waiting:
            assert waiting.stderr is not None
            assert "at most 60 seconds" in waiting.stderr.readline()
            waiting.send_signal(signal.SIGINT)
            assert waiting.wait(timeout=30) == 130


def test_the_stated_times_are_those_of_the_promise() -> None:
    assert (patience.TOLD_AFTER, patience.AT_MOST) == (3.0, 60.0)
    assert (Patience().told_after, Patience().at_most) == (3.0, 60.0)


@pytest.mark.parametrize("error", [UserError("wrong"), ValueError("database"), sqlite3.DatabaseError("malformed")])
def test_other_errors_are_not_waited_for(error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error), match=str(error)):
        Patience(at_most=60).wait(fail, lambda one: isinstance(one, sqlite3.OperationalError), "x")


@pytest.mark.unprotected
def test_a_locked_database_is_an_error_at_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without waiting, a command fails although the other program would soon be done"""
    monkeypatch.setattr(Patience, "wait", lambda _, call, *__: call())
    with held(home, HALF_WRITTEN):
        assert "database is locked" in call("results", code=2).stderr


@pytest.mark.unprotected
@pytest.mark.parametrize("protection", ["require_free", "PatientLock"])
def test_a_writer_waits_in_silence(home: Path, monkeypatch: pytest.MonkeyPatch, protection: str) -> None:
    """MLflow, and a plain lock of the file, wait for long in silence"""
    notes: list[str] = []
    monkeypatch.setattr(tracking, "Patience", partial(Patience, told_after=0.1))
    plain = {"require_free": lambda _: None, "PatientLock": lambda file, _: FileLock(f"{file}.lock")}
    monkeypatch.setattr(turns, protection, plain[protection])
    record, spec = Record(home=home, note=notes.append), next(specs(1, 1, 1))
    record.start(spec)
    writer = Thread(target=record.fail, args=(spec, "ValueError: wrong"))
    lock = FileLock(home / "mlflow.db.lock", thread_local=False)
    with held(home, HOLDERS["about to write"] if protection == "require_free" else ()) as release:
        if protection == "PatientLock":
            lock.acquire()
        writer.start()
        time.sleep(2)
        assert writer.is_alive()
        assert notes == []
        lock.release(force=True)
        release()
        writer.join(timeout=60)
    assert not writer.is_alive()
