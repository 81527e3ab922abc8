"""Runs that somebody has edited in MLflow's page: every verb names them and goes on with the others."""

import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.record.tracking import Record
from mcr_bench.cli import app
from mcr_bench.tests.support.records.recorded import empty_record, pretend, save

SMALL = {"dataset.train": ["30"], "dataset.val": ["20"], "dataset.test": ["20"]}
ASKED = ["--methods", "joint,ensemble", "--dataset", "synthetic", "--seeds", "2", "--preset", "balanced"]
ASKED += [word for key, (value,) in SMALL.items() for word in ("--set", f"{key}={value}")]
VERBS = [["results"], ["compare", "--baseline", "joint"], ["tables"], ["plot", "methods", "--baseline", "joint"]]
VERBS += [["report", "--baseline", "joint"], ["run", *ASKED, "--plan"]]
TAGS = [
    ("seed", "third"),
    ("fold", "1.5"),
    ("role", "my favourite"),
    ("modalities", ""),
    ("presets", "{'paper'}"),
    ("missing", "[]"),
    ("scales_gradients", "perhaps"),
]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spoilt")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        record = empty_record(Record(home=folder / "template"), folder / "home")
        pretend(record, "synthetic", "joint", "ensemble", preset="balanced", seeds=range(2), set=SMALL)
        pretend(record, save(folder / "m.npz"), "joint")
    return folder / "home"


@pytest.fixture
def home(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(template, tmp_path / "home")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def one(home: Path, method: str = "joint", dataset: str = "synthetic") -> RunRow:
    return next(row for row in Record(home=home).rows() if (row.method, row.dataset) == (method, dataset))


def edit(home: Path, statement: str, *values: object) -> None:
    """As MLflow's page does it, without starting a server."""
    with closing(sqlite3.connect(home / "mlflow.db")) as connection, connection:
        assert connection.execute(statement, values).rowcount == 1


def set_tag(home: Path, row: RunRow, name: str, value: str) -> None:
    with closing(sqlite3.connect(home / "mlflow.db")) as connection, connection:
        connection.execute(
            "INSERT OR REPLACE INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", [name, value, row.run_id]
        )


def call(*arguments: str) -> Result:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done


def rows_of(done: Result) -> dict[str, dict[str, object]]:
    return {row["run_id"]: row for row in json.loads(done.stdout)}


@pytest.mark.parametrize(("tag", "value"), TAGS)
def test_a_spoilt_tag_leaves_its_run_out_and_no_other(home: Path, tag: str, value: str) -> None:
    before, row = rows_of(call("results", "--json")), one(home)
    set_tag(home, row, tag, value)
    done = call("results", "--json")
    assert rows_of(done) == {run_id: data for run_id, data in before.items() if run_id != row.run_id}
    (note,) = done.stderr.splitlines()
    for part in (row.run_id, f"'{tag}'", value, "mcr-bench ui", row.label):
        assert part in note


def test_another_metric_of_one_run_does_not_change_what_the_others_are_compared_by(home: Path) -> None:
    before = json.loads(call("compare", "--baseline", "joint", "--json").stdout)["comparisons"]
    newest = Record(home=home).rows("synthetic")
    row = max((one for one in newest if one.role == "unimodal"), key=lambda one: one.started)
    set_tag(home, row, "metric", "loss")
    after = json.loads(call("compare", "--baseline", "joint", "--json").stdout)["comparisons"]
    assert [(one["metric"], one["against"]) for one in after] == [(one["metric"], one["against"]) for one in before]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_every_verb_goes_on_and_says_once_what_it_left_out(home: Path, verb: list[str]) -> None:
    row = one(home)
    edit(home, "DELETE FROM tags WHERE run_uuid = ? AND key = 'protocol'", row.run_id)
    set_tag(home, one(home, dataset="m.npz"), "seed", "x")
    done = call(*verb)
    notes = [line for line in done.stderr.splitlines() if row.run_id in line]
    assert len(notes) == 1
    assert "its tag 'protocol' is missing" in notes[0]
    assert "on m.npz: run " in done.stderr


def test_the_note_stands_under_the_table_of_its_dataset_and_on_the_page(home: Path) -> None:
    row = one(home)
    set_tag(home, row, "fold", "first")
    tables = call("tables").stdout.split("\n\n")
    told = {bool(re.match("synthetic", table)) for table in tables if row.run_id in table}
    assert told == {True}
    call("report", "--baseline", "joint")
    assert row.run_id in (home / "report.html").read_text(encoding="utf-8")


def test_a_finished_run_that_is_spoilt_is_not_trained_again(home: Path) -> None:
    row = one(home)
    set_tag(home, row, "seed", "one")
    assert "8 runs, 8 finished, 0 to train." in call("run", *ASKED, "--plan").stdout
    done = call("run", *ASKED)
    assert row.run_id in done.stderr
    assert "0 to train" in done.stderr
    assert row.run_id in done.stdout  # under the table


def test_what_was_spoilt_is_read_again_once_it_is_corrected(home: Path) -> None:
    row = one(home, "ensemble")
    set_tag(home, row, "role", "assembly")
    assert row.run_id not in rows_of(call("results", "--json"))
    set_tag(home, row, "role", "ensemble")
    done = call("results", "--json")
    assert row.run_id in rows_of(done)
    assert done.stderr == ""


@pytest.mark.parametrize("tag", ["presets", "missing"])
def test_a_spoilt_tag_is_left_as_it_is(home: Path, tag: str) -> None:
    row = one(home)
    set_tag(home, row, tag, "no JSON")
    call("run", *ASKED)
    assert Record(home=home).client.get_run(row.run_id).data.tags[tag] == "no JSON"
