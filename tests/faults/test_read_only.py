"""A record that may only be read: on a file system without writing, without rights, and with what a kill left in it."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from mcr_bench.bench.record import tracking
from mcr_bench.bench.record.tracking import Record
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.records.homes import (
    ASKED,
    COMPARE,
    READING,
    call,
    copy_of,
    make_home,
    predictions_of,
    row_of,
    without_scores,
)
from mcr_bench.tests.support.records.read_only import as_nobody, mounted_read_only, state_of, without_rights

FAULT = Fault(
    "The record may only be read: a read-only file system, no rights, a database with a log beside it",
    "Reading commands work and write nothing, no lock, log or index of the database either; what they make goes to "
    "./results; commands that train say in one sentence that they cannot",
)
QUICK = ("results", "compare", "list", "describe")
VERBS = [pytest.param(verb, id=verb[0], marks=[] if verb[0] in QUICK else pytest.mark.slow) for verb in READING]
LEFT = {"log and index": ("-wal", "-shm"), "log alone": ("-wal",), "index alone": ("-shm",), "nothing": ()}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("read_only"))


@pytest.fixture
def home(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir(mode=0o777)
    monkeypatch.chdir(tmp_path / "work")
    return copy_of(template, tmp_path / "home", monkeypatch)


@contextmanager
def only_readable(home: Path, how: str) -> Iterator[None]:
    with ExitStack() as stack:
        if how == "mounted":
            stack.enter_context(mounted_read_only(home))
        elif how == "without rights":
            without_rights(home)
            (home.parent / "work").chmod(0o777)
            stack.enter_context(as_nobody(home))
        yield


def killed_writer(home: Path, left: tuple[str, ...]) -> None:
    """Leave the database as a kill does in the middle of a command: the last change is in the log alone."""
    database = home / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("UPDATE tags SET value = 'from the log' WHERE key = 'preset_origin'")
        connection.commit()
        for ending in ("", "-wal", "-shm"):
            shutil.copy(f"{database}{ending}", f"{database}{ending}.kept")
    for ending in ("", "-wal", "-shm"):
        Path(f"{database}{ending}").unlink(missing_ok=True)
        if ending in ("", *left):
            shutil.move(f"{database}{ending}.kept", f"{database}{ending}")
        else:
            Path(f"{database}{ending}.kept").unlink()


@pytest.mark.parametrize("how", ["mounted", "without rights"])
@pytest.mark.parametrize("verb", VERBS)
def test_every_reading_command_works_and_says_what_it_said(home: Path, verb: tuple[str, ...], how: str) -> None:
    said = call(*verb).stdout.replace(str(home), "HOME").replace(str(home.parent / "work" / "results"), "HOME")
    for made in ("tables", "figures", "report.html", "cache"):
        shutil.rmtree(home / made, ignore_errors=True)
    with only_readable(home, how):
        before = state_of(home)
        done = call(*verb)
        assert state_of(home) == before
    now = done.stdout.replace(str(home), "HOME").replace(str(home.parent / "work" / "results"), "HOME")
    assert now.split() == said.split()
    if verb[0] in ("tables", "plot", "report"):
        assert "may only be read: files go to" in done.stderr
        assert any((home.parent / "work" / "results").iterdir())


@pytest.mark.parametrize("verb", [verb for verb in READING if verb[0] not in ("tables", "plot", "report")])
def test_where_it_could_write_it_writes_nothing_either(home: Path, verb: tuple[str, ...]) -> None:
    before = state_of(home)
    call(*verb)
    assert state_of(home) == before


@pytest.mark.parametrize("how", ["mounted", "without rights", "writable"])
@pytest.mark.parametrize("left", LEFT)
def test_what_a_kill_has_left_in_the_log_is_read(home: Path, left: str, how: str) -> None:
    killed_writer(home, LEFT[left])
    with only_readable(home, how):
        before = {path: path.read_bytes() for path in home.glob("mlflow.db*") if not path.name.endswith("-shm")}
        rows = Record(home=home).rows()
        assert {path: path.read_bytes() for path in before} == before
    assert len(rows) == 8
    assert {row.preset_origin == "from the log" for row in rows} == {"-wal" in LEFT[left]}


def test_a_journal_that_a_kill_has_left_is_rolled_back_in_a_copy(home: Path) -> None:
    database, names = home / "mlflow.db", ("mlflow.db", "mlflow.db-journal")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("PRAGMA cache_size=1")
        connection.execute("UPDATE tags SET value = 'half' || value WHERE key <> 'key'")
        (home / "kept").mkdir()
        for name in names:
            shutil.copy(home / name, home / "kept" / name)
    for name in names:
        shutil.move(home / "kept" / name, home / name)
    with only_readable(home, "mounted"):
        assert not any(row.label.startswith("half") for row in Record(home=home).rows())


def test_a_run_with_nothing_to_train_prints_its_table(home: Path) -> None:
    with only_readable(home, "mounted"):
        done = call("run", *ASKED)
    assert "0 to train" in done.stderr
    assert "ensemble" in done.stdout


@pytest.mark.parametrize("how", ["mounted", "without rights"])
def test_a_run_that_has_to_train_is_refused_in_a_sentence(home: Path, how: str) -> None:
    call("results")
    with only_readable(home, how):
        done = call("run", *ASKED, "--seeds", "3", code=2)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "may only be read" in line
    assert "MCR_BENCH_HOME" in line


def test_the_page_of_mlflow_is_refused_in_a_sentence(home: Path) -> None:
    with only_readable(home, "mounted"):
        assert "may only be read" in call("ui", code=2).stderr


@pytest.mark.parametrize(("what", "mode"), [("mlflow.db", 0o000), ("mlflow.db", 0o222), ("", 0o000), ("", 0o444)])
def test_a_record_that_may_not_even_be_read_is_a_sentence(home: Path, what: str, mode: int) -> None:
    call("results")
    (home / what).chmod(mode)
    with as_nobody(home):
        done = call("results", code=2)
    (home / what).chmod(0o755)
    assert "cannot be opened" in done.stderr
    assert str(home) in done.stderr


@pytest.mark.parametrize("cache", ["its folder", "its file", "no cache", "a folder of another user alone"])
def test_scores_are_read_without_a_cache_that_can_be_written(home: Path, cache: str) -> None:
    without_scores(home)
    run_id = row_of(home).run_id
    good = Record(home=home).samples([run_id])[run_id].score.tolist()
    if cache == "no cache":
        shutil.rmtree(home / "cache")
        home.chmod(0o555)
    elif cache == "a folder of another user alone":
        (home / "cache").chmod(0o700)
    else:
        without_rights(home / "cache", 0o444 if cache == "its folder" else 0o000)
    with as_nobody(home):
        assert Record(home=home).samples([run_id])[run_id].score.tolist() == good
    assert call(*COMPARE).stderr == ""


@pytest.mark.parametrize("folder", ["of the run", "of its files"])
def test_a_folder_that_may_not_be_entered_costs_the_files_of_its_run_alone(home: Path, folder: str) -> None:
    """The record was moved, so that the folder is looked for at two places."""
    mine = row_of(home)
    closed = predictions_of(home, mine).parents[1 if folder == "of the run" else 0]
    closed.chmod(0o700)
    (home.parent / "work").chmod(0o777)
    with as_nobody(home):
        record = Record(home=home)
        assert record.samples([row.run_id for row in record.rows()]).keys() == {
            row.run_id for row in record.rows() if row.run_id != mine.run_id
        }
        (line,) = call(*COMPARE).stderr.splitlines()
        verified = call("results", "--verify", code=1).stdout
        exported = call("export", str(home.parent / "work" / "runs.zip"), code=1)
    assert all(part in line for part in (mine.run_id, "is unreadable", "Permission denied", str(closed)))
    assert verified.count("unreadable: predictions.parquet of") == 1
    assert verified.count("unreadable: scores.parquet of") == 1
    assert "7 runs" in exported.stdout
    assert mine.key in exported.stderr


@pytest.mark.parametrize("verb", ["results", "compare", "run"])
def test_where_there_is_no_record_reading_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MCR_BENCH_HOME", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    call(*{"run": ("run", *ASKED, "--plan"), "compare": COMPARE}.get(verb, (verb,)))
    assert list(tmp_path.iterdir()) == []


def test_reading_is_right_while_another_command_writes(home: Path) -> None:
    """Both change together in every transaction of the writer, so that a reader that saw half of one would tell."""
    row, stop = row_of(home), Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            with closing(sqlite3.connect(home / "mlflow.db", timeout=10)) as connection, connection:
                for name in ("preset_origin", "overrides"):
                    connection.execute(
                        "UPDATE tags SET value = ? WHERE key = ? AND run_uuid = ?", [str(number), name, row.run_id]
                    )

    writer = Thread(target=write)
    writer.start()
    try:
        for _ in range(40):
            now = row_of(home)
            assert now.preset_origin == now.overrides or now == row
    finally:
        stop.set()
        writer.join()


@pytest.mark.unprotected
def test_reading_as_writers_do_fails(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the lock and the log that writers take, a record that may only be read cannot be read"""
    monkeypatch.setattr(tracking, "require_writable", lambda *_: None)
    with only_readable(home, "mounted"):
        record = Record(home=home)
        with pytest.raises(OSError, match="Read-only file system"):
            record.prepare()


@pytest.mark.unprotected
def test_sqlite_itself_writes_when_it_reads(home: Path) -> None:
    """SQLite's own reading leaves files beside the database, and fails where it may not"""
    with closing(sqlite3.connect(f"file:{home / 'mlflow.db'}?mode=ro", uri=True)) as connection:
        connection.execute("SELECT count(*) FROM runs").fetchone()
    assert os.path.exists(home / "mlflow.db-shm")
    for ending in ("-shm", "-wal"):
        Path(f"{home / 'mlflow.db'}{ending}").unlink(missing_ok=True)
    with (
        only_readable(home, "mounted"),
        closing(sqlite3.connect(f"file:{home / 'mlflow.db'}?mode=ro", uri=True)) as connection,
        pytest.raises(sqlite3.OperationalError),
    ):
        connection.execute("SELECT count(*) FROM runs").fetchone()
