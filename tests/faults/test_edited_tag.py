"""Somebody has edited a tag in MLflow's page, or the database by hand."""

import math
import sqlite3
from contextlib import closing, suppress
from dataclasses import fields, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mcr_bench.bench.record import made_rows
from mcr_bench.bench.record.database import snapshot
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import EpochDone
from mcr_bench.cli import app
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.records.homes import COMPARE, READING, call, change, copy_of, make_home, row_of
from mcr_bench.tests.support.records.many_runs import specs

FAULT = Fault(
    "A tag of a run is edited: emptied, deleted, another word, 10,000 characters, control characters, not UTF-8, "
    "not a text at all",
    "That run alone is left out, and named with the tag and what to do; where any text is allowed, it is read as "
    "edited. Every command goes on with the others",
)
EMPTY, DELETED = "emptied", "deleted"
TEXTS = {
    EMPTY: "''",
    "spaces": "'   '",
    "another word": "'something else'",
    "a number": "17",
    "JSON": """'{"a": [1, null]}'""",
    "10,000 characters": "hex(zeroblob(5000))",
    "control characters": "char(27) || '[2J' || char(0, 13, 10, 8238)",
    "not UTF-8": "CAST(x'fffe80c3' AS TEXT)",
    "bytes": "x'00ff10'",
    "nothing": "NULL",
}
# Tag -> which fields of the row come from it; a run may also be unreadable.
FIELDS = {
    "key": {"key"},
    "method": {"method"},
    "label": {"label"},
    "role": {"role"},
    "source": {"source"},
    "method_digest": {"method_digest"},
    "scales_gradients": {"scales_gradients"},
    "complete_from": {"complete_from"},
    "dataset": {"dataset"},
    "dataset_source": {"dataset_source"},
    "fingerprint": {"fingerprint"},
    "data_identity": {"data_identity"},
    "modalities": {"modalities"},
    "protocol": {"protocol"},
    "protocol_card": {"protocol_card"},
    "fold": {"fold"},
    "seed": {"seed"},
    "preset": {"preset"},
    "preset_origin": {"preset_origin"},
    "overrides": {"overrides"},
    "presets": {"other_presets"},
    "config": {"config"},
    "dependencies": {"dependencies"},
    "metric": {"metric", "value"},
    "missing": {"missing"},
    "failure": {"failure"},
    "version": {"versions"},
    "version/torch": {"versions"},
    "commit": {"commit"},
    "device": {"device"},
    "device/name": {"device_name"},
    "precision": {"precision"},
    "deterministic": {"deterministic"},
    "platform": {"platform"},
    "turn": set[str](),
    "sha256/predictions.parquet": set[str](),
    "mlflow.runName": set[str](),
}
MAY_BE_MISSING = {
    *(
        "complete_from",
        "source",
        "method_digest",
        "scales_gradients",
        "dataset_source",
        "fingerprint",
        "protocol_card",
        "preset_origin",
    ),
    *("overrides", "presets", "dependencies", "missing", "failure", "version", "version/torch", "commit", "device"),
    *("device/name", "precision", "deterministic", "platform", "turn", "sha256/predictions.parquet", "mlflow.runName"),
}
OFTEN = ("key", "label", "seed", "presets")
TAGS = [pytest.param(tag, marks=[] if tag in OFTEN else pytest.mark.slow) for tag in FIELDS]
QUICK = ("results", "compare", "run", "list", "describe")
VERBS = [pytest.param(verb, id=verb[0], marks=[] if verb[0] in QUICK else pytest.mark.slow) for verb in READING]


ODD: list[object] = [None, "", "\x00", "x", b"\xff\xfe", 2**62, -1, 1.5, math.inf]
WHICH = {"tags": "seed", "params": "epochs", "metrics": "val/accuracy", "latest_metrics": "epochs"}
COLUMNS = [("runs", name) for name in ("run_uuid", "status", "start_time", "end_time", "artifact_uri")]
COLUMNS += [(table, name) for table in WHICH for name in ("run_uuid", "key", "value")]
COLUMNS += [(table, name) for table in ("metrics", "latest_metrics") for name in ("step", "timestamp", "is_nan")]
COLUMNS += [("experiments", name) for name in ("name", "artifact_location", "lifecycle_stage")]
# Columns with whose odd values, but for these, a run is left out, and what its note says.
TOLD = {
    ("runs", "status"): ((), "its status is '"),
    ("runs", "start_time"): ((None,), "its start_time is '"),
    ("runs", "end_time"): ((None,), "its end_time is '"),
    ("tags", "value"): ((2**62, -1), "its tag 'seed' "),
    ("latest_metrics", "value"): ((2**62, 1.5), "its metric 'epochs' is "),
    ("latest_metrics", "is_nan"): ((), "its metric 'epochs' is "),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("edited"))


@pytest.fixture
def home(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return copy_of(template, tmp_path / "home", monkeypatch)


def edit(home: Path, run_id: str, tag: str, how: str) -> None:
    """Edit a tag of a run, which is made if it was missing."""
    change(home, "DELETE FROM tags WHERE run_uuid = ? AND key = ?", run_id, tag)
    if how != DELETED:
        change(home, f"INSERT INTO tags (run_uuid, key, value) VALUES (?, ?, {TEXTS[how]})", run_id, tag)


def rows(home: Path) -> tuple[dict[str, RunRow], list[str]]:
    """Run -> its row, and what was noted."""
    notes: list[str] = []
    return {row.run_id: row for row in Record(home=home, note=notes.append).rows()}, notes


def differing(one: RunRow, other: RunRow) -> set[str]:
    return {f.name for f in fields(RunRow) if getattr(one, f.name) != getattr(other, f.name)}


@pytest.mark.parametrize("tag", TAGS)
def test_an_edited_tag_leaves_the_other_runs_as_they_were(home: Path, tag: str) -> None:
    before, _ = rows(home)
    mine = row_of(home)
    for how in (*TEXTS, DELETED):
        edit(home, mine.run_id, tag, how)
        after, notes = rows(home)
        edited = after.pop(mine.run_id, None)
        assert after == {run_id: row for run_id, row in before.items() if run_id != mine.run_id}, how
        if edited is not None:
            assert (differing(edited, mine) - FIELDS[tag], notes) == (set(), []), how
            assert how not in (EMPTY, DELETED) or tag in MAY_BE_MISSING
        else:
            (note,) = notes
            assert len(note) < 1000
            for part in (mine.run_id, f"tag '{tag}'", "mcr-bench ui"):
                assert part in note, how


@pytest.mark.slow
@pytest.mark.parametrize("how", [*TEXTS, DELETED])
def test_all_tags_of_a_run_are_edited_so(home: Path, how: str) -> None:
    mine = row_of(home)
    for tag in FIELDS:
        if tag not in ("key", "turn"):
            edit(home, mine.run_id, tag, how)
    done = call("results")
    (note,) = done.stderr.splitlines()
    assert mine.run_id in note


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_goes_on(home: Path, verb: tuple[str, ...]) -> None:
    """One run has a seed that is no number and is not UTF-8, another a label of control characters."""
    mine, other = row_of(home), row_of(home, "ensemble")
    edit(home, mine.run_id, "seed", "not UTF-8")
    edit(home, other.run_id, "label", "control characters")
    done = call(*verb)
    assert not any(sign in done.stdout + done.stderr for sign in "\x1b\x00\u202e")
    if verb[0] not in ("list", "describe"):
        assert sum(mine.run_id in line for line in done.stderr.splitlines()) == 1


@pytest.mark.parametrize("table", ["params", "metrics", "latest_metrics"])
@pytest.mark.parametrize("how", ["another word", "10,000 characters", "not UTF-8", "bytes"])
def test_other_values_of_a_run_are_edited(home: Path, table: str, how: str) -> None:
    """Not a tag, but a setting or a number"""
    before, _ = rows(home)
    mine = row_of(home)
    assert change(home, f"UPDATE {table} SET value = {TEXTS[how]} WHERE run_uuid = ?", mine.run_id)
    after, notes = rows(home)
    after.pop(mine.run_id, None)
    assert after == {run_id: row for run_id, row in before.items() if run_id != mine.run_id}
    assert all(mine.run_id in note for note in notes)
    assert "joint" in call("results").stdout
    Record(home=home).history(row_of(home, seed=1).run_id)


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_value_of_any_type_in_any_column_costs_its_run_alone(home: Path, table: str, column: str) -> None:
    """No tag but another column holds what nobody has written there"""
    before, _ = rows(home)
    mine, whole = row_of(home), (home / "mlflow.db").read_bytes()
    others = {run_id: row for run_id, row in before.items() if run_id != mine.run_id}
    spared, words = TOLD.get((table, column), (ODD, ""))
    for odd in ODD:
        (home / "mlflow.db").write_bytes(whole)
        if not put(home, table, column, mine.run_id, odd):
            continue
        record = Record(home=home)
        after, notes = rows(home)
        if table != "experiments":  # all runs are of one, which is not this record's any more
            after.pop(mine.run_id, None)
            assert after == others, odd
        assert all(mine.run_id in note or (column == "name" and "Rename it to" in note) for note in notes), odd
        assert odd in spared or any(words in note and "mcr-bench ui" in note for note in notes), odd
        assert record.checked() or table == "experiments"
        record.history(mine.run_id)
        record.prepare()
        assert call("results", "--json", code=0).stdout
        (home / "runs.zip").unlink(missing_ok=True)
        done = CliRunner().invoke(app, ["export", str(home / "runs.zip")])
        assert isinstance(done.exception, SystemExit | None), (odd, done.exception)
        assert "7 runs written" in done.stdout or "8 runs written" in done.stdout or table == "experiments", odd


def test_a_merge_passes_by_a_value_here_that_is_no_number(home: Path, template: Path) -> None:
    """The same run there has the number."""
    mine = row_of(home)
    change(
        home, "UPDATE latest_metrics SET value = 'x' WHERE run_uuid = ? AND key = ?", mine.run_id, f"test/{mine.metric}"
    )
    assert "0 runs added, 8 finished here already" in call("merge", str(template)).stdout


@pytest.mark.parametrize("odd", ["x", b"x", -1, 1e300, math.inf])
def test_a_run_goes_on_whose_last_epoch_is_no_number(home: Path, odd: object) -> None:
    """Its epochs are logged again, which changes nothing where they are on record."""
    record, spec = Record(home=home), next(specs(1, 1, 1))
    event = EpochDone(spec.key, 1, 2, {"val/accuracy": 0.5}, 1000.0)
    run_id = str(record.start(spec))
    record.log_epoch(spec, event)
    record.kill(spec)
    change(home, "UPDATE latest_metrics SET value = ? WHERE run_uuid = ? AND key = 'epoch'", odd, run_id)
    assert record.start(spec) == run_id
    for one in (event, replace(event, epoch=2)):
        record.log_epoch(spec, one)
    record.finish(spec, {"test/accuracy": 0.5})
    assert record.history(run_id)["val/accuracy"] == [(1, 0.5), (2, 0.5)]


def put(home: Path, table: str, column: str, run_id: str, value: object) -> bool:
    """Write a value past the checks of MLflow's tables; False where SQLite itself refuses it, or keeps it as it was."""
    where = {"experiments": "name = 'mcr-bench/synthetic'", "runs": "run_uuid = :run"}.get(table)
    where = where or f"run_uuid = :run AND key = '{WHICH[table]}'"
    with closing(sqlite3.connect(home / "mlflow.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints=ON")
        with suppress(sqlite3.IntegrityError):
            changed = connection.execute(
                f"UPDATE {table} SET {column} = :value WHERE {where}", {"run": run_id, "value": value}
            )
            return changed.rowcount > 0
    return False


def test_a_finished_run_is_not_trained_again(home: Path) -> None:
    for number, tag in enumerate(("seed", "fold")):
        edit(home, row_of(home, seed=number).run_id, tag, "not UTF-8")
    assert "0 to train" in call(*next(verb for verb in READING if verb[0] == "run")).stdout


@pytest.mark.unprotected
def test_without_care_for_each_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a run that cannot be read is an error, one edited tag ends every command"""
    monkeypatch.setattr(made_rows, "row_or_why", made_rows.row_of)
    edit(home, row_of(home).run_id, "seed", "another word")
    for verb in (("results",), COMPARE):
        call(*verb, code=1)


@pytest.mark.unprotected
def test_without_care_for_encodings(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As SQLite's own reading has it, one text that is not UTF-8 makes the whole record unreadable"""
    monkeypatch.setattr(snapshot, "is_not_utf8", lambda _: False)
    edit(home, row_of(home).run_id, "commit", "not UTF-8")
    assert "cannot be opened" in call("results", code=2).stderr


@pytest.mark.parametrize("what", ["runs SET artifact_uri", "experiments SET artifact_location"])
def test_an_address_that_is_not_utf_8_stops_no_writing(home: Path, what: str) -> None:
    """No tag but the address of files is a text that is not UTF-8"""
    change(home, f"UPDATE {what} = CAST(x'2ffffe' AS TEXT) WHERE ? != ''", "every")
    Record(home=home).prepare()
    assert "joint" in call("results").stdout
