"""Runs on data that have got another name since: they are finished, and the tables of a plan have them."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mcr_bench.bench.record.tracking import Record
from mcr_bench.cli import app
from mcr_bench.tests.support.records.recorded import empty_record, pretend, save


@pytest.fixture
def renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, under another name, of the file of all runs on record."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path / "home"))
    record = empty_record(Record(home=tmp_path / "template"), tmp_path / "home")
    pretend(record, save(tmp_path / "first.npz"), "joint", "multi-loss", seeds=range(2))
    return Path(shutil.copy(tmp_path / "first.npz", tmp_path / "renamed.npz"))


def test_a_command_shows_the_runs_that_it_finds_under_another_name(renamed: Path) -> None:
    asked = ["run", "--methods", "joint,multi-loss", "--dataset", str(renamed), "--seeds", "2"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert "runs on renamed.npz are on record as runs on first.npz, which has the same data" in done.stderr
    assert "0 to train" in done.stderr
    lines = {line.split("  ")[0]: line.split() for line in done.stdout.splitlines()}
    assert lines["joint"][3] == lines["multi-loss"][3] == "2"  # n
    assert done.stdout.startswith("renamed.npz")


def test_under_the_first_name_nothing_is_said(renamed: Path) -> None:
    asked = ["run", "--methods", "joint,multi-loss", "--dataset", str(renamed.with_name("first.npz")), "--seeds", "2"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert "same data" not in done.stderr
    assert done.stdout.startswith("first.npz")


@pytest.mark.usefixtures("renamed")
@pytest.mark.parametrize("place", [".", "/"])
@pytest.mark.parametrize("words", [["report"], ["tables", "--paper", "--format", "latex"]])
def test_a_folder_is_no_place_for_a_file(words: list[str], place: str) -> None:
    done = CliRunner().invoke(app, [*words, "--baseline", "joint", "--output", place])
    assert done.exit_code in (1, 2), done.output
    assert not isinstance(done.exception, ValueError | OSError)
    assert "a file" in done.output
