"""`merge`: the runs of several homes in one record, each once and whole, and nothing overwritten."""

import errno
import hashlib
import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mcr_bench.bench.exchange import joining, target
from mcr_bench.bench.executors.places import key_lock
from mcr_bench.bench.record.tracking import Record
from mcr_bench.tests.support.records.earlier import unpack, values
from mcr_bench.tests.support.records.homes import SMALL, call, change, predictions_of, row_of
from mcr_bench.tests.support.records.moving import RUNS, content
from mcr_bench.tests.support.records.recorded import pretend


def test_the_joined_record_holds_what_the_others_hold(homes: Path) -> None:
    told = call("merge", "one", "two").stdout
    assert told.splitlines() == [f"'{name}': {RUNS} runs added, 0 finished here already." for name in ("one", "two")]
    assert content(homes / "here") == content(homes / "one") | content(homes / "two")
    assert call("results", "--verify").exit_code == 0


def test_a_second_time_changes_nothing(homes: Path) -> None:
    call("merge", "one")
    before = content(homes / "here")
    assert "0 runs added, 4 finished here already" in call("merge", "one").stdout
    assert content(homes / "here") == before
    assert len(list((homes / "here/artifacts").glob("*/*"))) == RUNS


def test_the_other_home_stays_as_it_is(homes: Path) -> None:
    def files() -> dict[Path, bytes]:
        paths = (path for path in (homes / "one").rglob("*") if path.is_file() and not path.name.endswith("-shm"))
        return {path: path.read_bytes() for path in paths}  # -shm: where SQLite notes who is reading

    before = files()
    call("merge", "one")
    assert files() == before


def test_what_is_finished_here_stays_and_differences_are_told(homes: Path) -> None:
    call("merge", "one")
    before, row = content(homes / "here"), row_of(homes / "one")
    for table in ("metrics", "latest_metrics"):
        change(
            homes / "one", f"UPDATE {table} SET value = 0.25 WHERE run_uuid = ? AND key = 'test/accuracy'", row.run_id
        )
    told = call("merge", "one")
    assert f"({row.key}): test/accuracy is {row.value:.9g} here and 0.25 there" in told.stderr
    assert "1 with other results there" in told.stdout
    assert content(homes / "here") == before


@pytest.mark.parametrize("what", ["iterdir", "open"])
def test_weights_that_may_not_be_read_are_named_and_their_run_comes(
    what: str, homes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, before = homes / "one/weights", getattr(Path, what)
    weights.mkdir(exist_ok=True)
    key = row_of(homes / "one").key
    (weights / f"{key}.pt").write_bytes(b"weights")

    def refuse(path: Path, *args: object, **more: object) -> object:
        if path.is_relative_to(weights):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return before(path, *args, **more)

    monkeypatch.setattr(Path, what, refuse)
    told = call("merge", str(homes / "one"))
    assert f"{RUNS} runs added" in told.stdout
    assert re.search(rf"incomplete: .*\({key}\): its weights cannot be read there \(.*Permission denied", told.stderr)


def test_weights_that_may_not_be_written_here_are_not_said_to_be_unreadable_there(
    homes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (homes / "one").rename(homes / "he")  # its name begins that of the home here
    (homes / "he/weights").mkdir(exist_ok=True)
    (homes / f"he/weights/{row_of(homes / 'he').key}.pt").write_bytes(b"weights")

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(joining, "whole_file", refuse)
    told = call("merge", "he", code=2)
    assert "here/weights" in told.stderr
    assert "cannot be read there" not in told.stderr


def test_a_home_without_a_table_is_named(homes: Path) -> None:
    change(homes / "one", "DROP TABLE metrics")
    told = call("merge", "one", code=2)
    assert "mlflow.db' cannot be read: no such table: metrics" in told.stderr


def test_a_finished_run_comes_beside_an_unfinished_one(homes: Path) -> None:
    pretend(Record(home=homes / "here"), "synthetic", "joint", preset="balanced", seeds=[0], set=SMALL)
    change(homes / "here", "UPDATE runs SET status = 'KILLED'")
    assert [row.status for row in Record().rows()] == ["killed"]
    call("merge", "one")
    assert {row.status for row in Record().rows()} == {"finished"}


def test_unfinished_runs_are_counted_and_not_joined(homes: Path) -> None:
    change(homes / "one", "UPDATE runs SET status = 'KILLED' WHERE run_uuid = ?", row_of(homes / "one").run_id)
    assert "3 runs added, 0 finished here already, 1 unfinished there." in call("merge", "one").stdout


def test_presets_under_which_a_run_was_asked_for_are_united(homes: Path) -> None:
    call("merge", "one")
    row = row_of(homes / "one")
    asked = json.dumps({"mine": {"origin": "me", "overrides": "epochs=5"}})
    change(homes / "one", "INSERT INTO tags (key, value, run_uuid) VALUES ('presets', ?, ?)", asked, row.run_id)
    assert "1 asked for under other presets there" in call("merge", "one").stdout
    assert set(row_of(homes / "here").asked) == {"balanced", "mine"}
    assert "asked for" not in call("merge", "one").stdout


def test_a_damaged_file_is_not_joined_and_a_missing_one_is_named(homes: Path) -> None:
    damaged, lost = (row_of(homes / "one", method) for method in ("joint", "ensemble"))
    predictions_of(homes / "one", damaged).write_bytes(b"other bytes")
    predictions_of(homes / "one", lost).unlink()
    told = call("merge", "one", code=1)
    assert f"left out: {damaged.label} on synthetic, seed 0 ({damaged.key})" in told.stderr
    assert "3 runs added, 0 finished here already, 1 without a file, 1 left out." in told.stdout
    assert (
        f"incomplete: {lost.label} on synthetic, seed 0 ({lost.key}): its predictions.parquet is missing" in told.stderr
    )
    assert "missing" in call("results", "--verify", code=1).output


def test_weights_are_copied_and_not_overwritten(homes: Path) -> None:
    first, second = (row_of(homes / "one", method).key for method in ("joint", "ensemble"))
    for home, keys in (("one", (first, second)), ("here", (first,))):
        (homes / home / "weights").mkdir(exist_ok=True)
        for key in keys:
            (homes / home / "weights" / f"{key}.pt").write_text(home)
    call("merge", "one")
    assert (homes / "here/weights" / f"{first}.pt").read_text() == "here"
    assert (homes / "here/weights" / f"{second}.pt").read_text() == "one"


def test_a_run_that_is_trained_here_waits(homes: Path) -> None:
    row = row_of(homes / "one")
    with key_lock(homes / "here", row.key):
        assert "is being trained here" in call("merge", "one", code=1).stderr
    assert "1 run added, 3 finished here already" in call("merge", "one").stdout


def test_a_record_of_an_earlier_version(homes: Path) -> None:
    unpack(homes / "earlier")
    call("merge", "earlier")
    assert values(homes / "here") == values(homes / "earlier")
    assert len(values(homes / "here")) == 15


@pytest.mark.usefixtures("homes")
def test_json() -> None:
    (one,) = json.loads(call("merge", "one", "--json").stdout)
    assert (one["origin"], one["added"], one["left_out"]) == ("one", RUNS, [])


def test_a_home_is_not_joined_into_itself(homes: Path) -> None:
    (homes / "link").symlink_to(homes / "here")
    for name in ("here", "link", "one/../here"):
        assert "cannot be joined into itself" in call("merge", "one", name, code=2).stderr
    assert content(homes / "here") == {}


@pytest.mark.usefixtures("homes")
@pytest.mark.parametrize("name", ["nothing", "one/artifacts", "one/mlflow.db"])
def test_what_is_no_home_is_an_error(name: str) -> None:
    assert "holds no record" in call("merge", name, code=2).stderr


def test_a_home_whose_database_is_damaged(homes: Path) -> None:
    (homes / "one/mlflow.db").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    for file in homes.glob("one/mlflow.db-*"):
        file.unlink()
    assert "cannot be read" in call("merge", "one", code=2).stderr


@pytest.mark.parametrize("name", ["..", "x" * 241, "é" * 121])
def test_a_dataset_whose_name_leads_out_of_the_home_or_is_too_long_for_a_folder(name: str, homes: Path) -> None:
    change(homes / "one", f"UPDATE tags SET value = '{name}' WHERE key = 'dataset'")
    told = call("merge", "one", code=1)
    assert "cannot be the name of a dataset" in told.stderr
    assert not list((homes / "here").glob("artifacts/*/*"))


def test_after_a_merge_the_plan_has_nothing_to_train(homes: Path) -> None:
    shutil.rmtree(homes / "here")
    call("merge", "one", "two")
    asked = [word for key, (value,) in SMALL.items() for word in ("--set", f"{key}={value}")]
    command = ["run", "--methods", "joint,ensemble", "--dataset", "synthetic", "--preset", "balanced", "--seeds", "2"]
    assert "8 runs, 8 finished, 0 to train." in call(*command, *asked, "--plan").stdout


def test_a_full_disk_and_a_record_that_cannot_be_written_exit_1_and_the_same_command_goes_on(
    homes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = iter([OSError(errno.ENOSPC, "No space left on device", "/d/f"), RuntimeError("the store is away")])

    def refusing(*_: object) -> None:
        raise next(errors)

    with monkeypatch.context() as patch:
        patch.setattr(target, "write_whole", refusing)
        assert "the disk is full: '/d/f' could not be written" in call("merge", "one", code=1).stderr
        assert f"{target.PUT_OFF} the store is away" in call("merge", "one", code=1).stderr
    call("merge", "one")
    assert content(homes / "here") == content(homes / "one")


def test_a_key_of_an_experiment_that_was_deleted_here_is_not_added_again(homes: Path) -> None:
    """MLflow brings the runs of an experiment back with it."""
    call("merge", "one")
    before = content(homes / "here")
    change(homes / "here", "UPDATE experiments SET lifecycle_stage = 'deleted' WHERE name != ?", "Default")
    change(homes / "here", "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid != ?", "none")
    assert f"0 runs added, {RUNS} finished here already" in call("merge", "one").stdout
    assert content(homes / "here") == before


def test_the_folder_of_a_server_is_a_home(homes: Path) -> None:
    """Its database names files by the server's address; they lie beside it, and nothing of it is changed."""
    with closing(sqlite3.connect(homes / "one/mlflow.db")) as database, database:
        for table, column in (("runs", "artifact_uri"), ("experiments", "artifact_location")):
            rows = database.execute(f"SELECT rowid, {column} FROM {table}").fetchall()
            for row, address in rows:
                served = "mlflow-artifacts:" + address.partition("/artifacts")[2]
                database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", [served, row])
    before = hashlib.sha256((homes / "one/mlflow.db").read_bytes()).hexdigest()
    asked = call("merge", "two").stdout
    assert "left out" not in call("merge", "one").output
    assert "0 runs added" not in asked
    assert call("results", "--verify").exit_code == 0
    assert hashlib.sha256((homes / "one/mlflow.db").read_bytes()).hexdigest() == before
    shutil.rmtree(homes / "one/artifacts")
    assert (
        "start it, and `mcr-bench export" in call("merge", "one", "--tracking-uri", "sqlite:///other.db", code=1).stderr
    )


def test_a_part_without_runs_is_a_home(homes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCR_BENCH_HOME", str(homes / "part"))
    call("run", "--methods", "joint", "--dataset", "synthetic", "--seeds", "1", "--set", "epochs=1", "--shard", "9/9")
    monkeypatch.setenv("MCR_BENCH_HOME", str(homes / "here"))
    assert "'part': 0 runs added" in call("merge", "one", "part").stdout


def test_a_home_that_has_trials_alone_names_their_record(homes: Path) -> None:
    (homes / "tuned/tuning").mkdir(parents=True)
    shutil.copy(homes / "one/mlflow.db", homes / "tuned/tuning/mlflow.db")
    assert "The record of its `tune` is 'tuned/tuning'." in call("merge", "tuned", code=2).stderr
