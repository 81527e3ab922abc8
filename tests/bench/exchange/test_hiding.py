"""`forget`: runs are hidden and come back."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mcr_bench.bench.executors.places import key_lock
from mcr_bench.bench.record.tracking import Record
from mcr_bench.cli import app
from mcr_bench.tests.support.records.homes import call, change, row_of
from mcr_bench.tests.support.records.moving import RUNS, content


@pytest.fixture
def home(homes: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MCR_BENCH_HOME", str(homes / "one"))
    return homes / "one"


def methods() -> list[str]:
    return sorted(row.method for row in Record().rows())


def test_hidden_runs_come_back_as_they_were(home: Path) -> None:
    before = content(home)
    told = call("forget", "--method", "joint", "--yes").stdout
    assert row_of_key(told, "joint")
    assert "1 run hidden. The same command with --undo brings them back." in told
    assert methods() == ["ensemble", "unimodal", "unimodal"]
    assert "1 run brought back." in call("forget", "--method", "joint", "--undo", "--yes").stdout
    assert content(home) == before


def row_of_key(text: str, label: str) -> bool:
    return any(label in line and "finished" in line for line in text.splitlines())


@pytest.mark.parametrize(("answer", "code", "left"), [("n\n", 1, RUNS), ("", 1, RUNS), ("y\n", 0, RUNS - 1)])
@pytest.mark.usefixtures("home")
def test_it_asks(answer: str, code: int, left: int) -> None:
    done = CliRunner().invoke(app, ["forget", "--method", "joint"], input=answer)
    assert done.exit_code == code
    assert "Hide 1 run?" in done.stdout
    assert len(methods()) == left


@pytest.mark.usefixtures("home")
def test_runs_that_start_from_hidden_ones_are_named() -> None:
    told = call("forget", "--method", "unimodal", "--yes")
    assert "Finished runs that stay and start from these: 1." in told.stdout
    assert "ensemble" in told.stderr
    assert methods() == ["ensemble", "joint"]


def test_what_is_hidden_is_trained_again(home: Path) -> None:
    row = row_of(home)
    call("forget", "--key", row.run_id, "--yes")
    assert Record().finished_keys([row.key]) == set()


def test_by_status(home: Path) -> None:
    row = row_of(home, "ensemble")
    change(home, "UPDATE runs SET status = 'FAILED' WHERE run_uuid = ?", row.run_id)
    assert row.key in call("forget", "--status", "failed,killed", "--yes").stdout
    assert methods() == ["joint", "unimodal", "unimodal"]


def test_a_run_that_cannot_be_read_any_more(home: Path) -> None:
    row = row_of(home)
    change(home, "UPDATE tags SET value = 'x' WHERE key = 'seed' AND run_uuid = ?", row.run_id)
    assert "left out" in call("results").stderr
    call("forget", "--key", row.run_id, "--yes")
    assert "left out" not in call("results").stderr


def test_a_run_that_is_being_trained_stays(home: Path) -> None:
    row = row_of(home)
    change(home, "UPDATE runs SET status = 'RUNNING' WHERE run_uuid = ?", row.run_id)
    with key_lock(home, row.key):
        told = call("forget", "--method", "joint", "--yes")
    assert "left out: 1 run that a command trains now." in told.stderr
    assert "No run is meant." in told.stdout
    assert "1 run hidden" in call("forget", "--method", "joint", "--yes").stdout


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([], "name the runs to hide"),
        (["--status", "done"], "unknown status 'done'"),
        (["--method", "jiont"], "Did you mean joint?"),
        (["--dataset", "mine.npz"], "unknown dataset on record"),
        (["--seeds", "x"], "--seeds x: not allowed"),
        (["--key", "ab"], "is too short"),
        (["--key", "abcdefg"], "begins with 'abcdefg'"),
    ],
)
@pytest.mark.usefixtures("home")
def test_bad_options_hide_nothing(options: list[str], reason: str) -> None:
    assert reason in call("forget", *options, "--yes", code=2).stderr
    assert len(methods()) == RUNS


@pytest.mark.usefixtures("homes")
def test_an_empty_record() -> None:
    assert "No run is meant." in call("forget", "--method", "joint", "--yes").stdout
    assert "No hidden run is meant." in call("forget", "--undo", "--yes").stdout
