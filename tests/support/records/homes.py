"""Records of a few runs for trials of faults: made once, copied for every trial, read by the commands."""

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from mcr_bench.bench.record.files.artifacts import PREDICTIONS, SCORES
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.record.tracking import Record
from mcr_bench.cli import app
from mcr_bench.tests.support.records.recorded import empty_record, pretend

SMALL = {"dataset.train": ["30"], "dataset.val": ["20"], "dataset.test": ["20"]}
ASKED = ["--methods", "joint,ensemble", "--dataset", "synthetic", "--seeds", "2", "--preset", "balanced"]
ASKED += [word for key, (value,) in SMALL.items() for word in ("--set", f"{key}={value}")]
COMPARE = ("compare", "--baseline", "joint")
READING: Sequence[tuple[str, ...]] = (
    ("results",),
    COMPARE,
    ("tables",),
    ("plot", "methods", "--baseline", "joint"),
    ("report", "--baseline", "joint"),
    ("run", *ASKED, "--plan"),
    ("list", "methods"),
    ("describe", "joint"),
)


def make_home(folder: Path) -> Path:
    """A home with the runs that `ASKED` asks for: joint, the ensemble and its unimodal runs, two seeds each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        record = empty_record(Record(home=folder / "template"), folder / "home")
        pretend(record, "synthetic", "joint", "ensemble", preset="balanced", seeds=range(2), set=SMALL)
    return (folder / "home").rename(folder / "made")  # nothing is left at the addresses in the database


def copy_of(template: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a home, which the commands of this test read."""
    shutil.copytree(template, place)
    with closing(sqlite3.connect(place / "mlflow.db")) as connection:  # nothing is left in the log
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MCR_BENCH_HOME", str(place))
    return place


def call(*arguments: str, code: int = 0) -> Result:
    """What a command says; it has to end with this exit code, without a traceback."""
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == code, f"{arguments}: {done.output}\n{done.exception!r}"
    return done


def row_of(home: Path, method: str = "joint", seed: int = 0) -> RunRow:
    """The row of a run of the home."""
    return next(row for row in Record(home=home).rows() if (row.method, row.seed) == (method, seed))


def predictions_of(home: Path, row: RunRow, name: str = PREDICTIONS) -> Path:
    """The file of a run's predictions, or another file of it."""
    (file,) = home.glob(f"artifacts/*/{row.run_id}/artifacts/{name}")
    return file


def scores_of(home: Path, row: RunRow) -> Path:
    """The file of a run's scores per sample."""
    return predictions_of(home, row, SCORES)


def without_scores(home: Path) -> None:
    """Make all runs as those of earlier versions, whose scores are read from their predictions."""
    for file in home.glob(f"artifacts/*/*/artifacts/{SCORES}"):
        file.unlink()
    change(home, "DELETE FROM tags WHERE key = ?", f"sha256/{SCORES}")


def change(home: Path, statement: str, *values: object) -> int:
    """Change the database as MLflow's page does, without a server; the number of rows that were changed."""
    with closing(sqlite3.connect(home / "mlflow.db")) as connection, connection:
        return connection.execute(statement, values).rowcount
