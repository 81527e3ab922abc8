"""What happens to a record while runs are trained: a run is deleted, the database is damaged."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mcr_bench.bench.errors import Unavailable
from mcr_bench.bench.record import writing
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.record.writer import Writer
from mcr_bench.bench.runs.events import EpochDone, Job, RunDone, Silent
from mcr_bench.tests.support.runs import pretended_training
from mcr_bench.tests.support.runs.pretended_training import begun, epochs, jobs_of, row, run

fake, trace = pretended_training.fake, pretended_training.trace  # fixtures
DELETED = "its run was deleted from the record while it was trained. The same command trains it again"
HIDDEN = ("UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?",)  # as in MLflow's page
REMOVED = tuple(f"DELETE FROM {table} WHERE run_uuid = ?" for table in ("latest_metrics", "params", "tags", "runs"))
DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "file is not a database": (lambda content: b"x" * len(content), "file is not a database"),
    "malformed": (lambda content: content[:4096] + b"\xff" * (len(content) - 4096), "database disk image is malformed"),
    "no tables": (lambda _: b"", "no such table"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a record without runs."""
    home = tmp_path_factory.mktemp("made")
    Record(f"sqlite:///{home / 'mlflow.db'}", home).prepare()
    return home / "mlflow.db"


@pytest.fixture
def record(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """One that writes every epoch at once."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(writing, "FLUSH_SECONDS", -1.0)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "mlflow.db").write_bytes(made.read_bytes())
    return Record(home=tmp_path / "home")


def change(record: Record, run_id: str, statements: tuple[str, ...]) -> None:
    with closing(sqlite3.connect(record.home / "mlflow.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement, [run_id])


def epoch(job: Job, number: int) -> EpochDone:
    return EpochDone(job.spec.key, number, 3, {"loss": 1 / number}, 1.0)


def done(job: Job) -> RunDone:
    job.folder.mkdir(parents=True, exist_ok=True)
    job.predictions.write_text("predictions")
    return RunDone(job.spec.key, {"test/accuracy": 0.5}, 1.5)


@pytest.mark.parametrize("how", [HIDDEN, REMOVED], ids=["in the page", "from the tables"])
@pytest.mark.parametrize("notices", ["the next epoch", "the next epoch of another run", "the end"])
def test_a_run_that_is_deleted_fails_alone_and_is_trained_again(
    fake: ModuleType, record: Record, trace: Path, how: tuple[str, ...], notices: str
) -> None:
    specs = [fake.Spec(name, trace) for name in ("deleted", "other")]
    with jobs_of(record, *specs) as jobs:
        mine, other = begun(jobs), begun(jobs)
        change(record, row(record, mine.spec).run_id, how)
        assert jobs.to_stop() == []
        if notices == "the end":
            jobs.take(mine, done(mine))
        else:
            jobs.take(mine, epoch(mine, 1))
            jobs.take(other, epoch(other, 1))
            assert jobs.go_on()
            assert jobs.to_stop() == [(mine, DELETED)]
            jobs.fail(mine, DELETED)
            assert jobs.to_stop() == []
        jobs.take(other, done(other))
        assert not jobs.go_on()
    (failure,) = jobs.outcome.failed
    assert failure.spec is mine.spec
    assert failure.reason.removeprefix("trained, but it could not be recorded: ") == DELETED
    assert jobs.outcome.finished == [other.spec]
    with jobs_of(record, mine.spec) as jobs:
        again = begun(jobs)
        jobs.take(again, epoch(again, 1))
        jobs.take(again, done(again))
    assert jobs.outcome.finished == [mine.spec]
    assert epochs(record, mine.spec) == [1]


def test_the_worker_of_a_deleted_run_is_stopped(fake: ModuleType, record: Record, trace: Path) -> None:
    class Deleting(Silent):
        def on_epoch(self, spec: Any, event: EpochDone) -> None:
            if spec.label == "deleted":
                change(record, row(record, spec).run_id, HIDDEN)
                record.log_epoch(spec, EpochDone(spec.key, 2, 3, {"loss": 0.5}, 1.0))

    hangs, good = fake.Spec("deleted", trace, "hang once"), fake.Spec("good", trace)
    outcome = run([hangs, good], record, observer=Deleting())
    assert [(failure.spec, failure.reason) for failure in outcome.failed] == [(hangs, DELETED)]
    assert outcome.finished == [good]


def test_a_run_that_mlflow_does_not_take_fails_alone(
    fake: ModuleType, record: Record, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its start, and in the middle of it: a name is too long."""
    start, long = Writer.start, "x" * 300

    def odd(self: Writer, opening: Any) -> str | None:
        opening.params.update({long: "1"} if opening.name.startswith("odd") else {})
        return start(self, opening)

    monkeypatch.setattr(Writer, "start", odd)
    specs = [fake.Spec(name, trace) for name in ("odd", "later", "good")]
    with jobs_of(record, *specs) as jobs:
        later, good = begun(jobs), begun(jobs)
        jobs.take(later, EpochDone(later.spec.key, 1, 3, {long: 0.5}, 1.0))
        ((stopped, why),) = jobs.to_stop()
        assert stopped is later
        jobs.fail(later, why)
        jobs.take(good, done(good))
    assert [failure.spec.label for failure in jobs.outcome.failed] == ["odd", "later"]
    assert all("does not take" in one.reason and "length" in one.reason for one in jobs.outcome.failed)
    assert jobs.outcome.finished == [good.spec]
    for spec in specs[:2]:
        assert row(record, spec).status == "failed"
        assert "does not take" in row(record, spec).failure


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("moment", ["epoch", "end"])
def test_a_damaged_database_ends_the_command_with_a_sentence_and_loses_nothing(
    fake: ModuleType, record: Record, trace: Path, damage: str, moment: str
) -> None:
    file, (change_of, words) = record.home / "mlflow.db", DAMAGES[damage]
    with jobs_of(record, fake.Spec("a", trace), fake.Spec("b", trace)) as jobs:
        first, second = begun(jobs), begun(jobs)
        jobs.take(first, epoch(first, 1))
        record.client._tracking_client.store.engine.dispose()
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        whole = file.read_bytes()
        file.write_bytes(change_of(whole))
        if moment == "end":
            jobs.take(first, done(first))
        with pytest.raises(Unavailable) as raised:
            jobs.take(second, epoch(second, 1))
    assert f"the record at '{file}' cannot be written: " in str(raised.value)
    assert words in str(raised.value)
    assert "Bring the file back from a backup" in str(raised.value)
    record.client._tracking_client.store.engine.dispose()
    for path in record.home.glob("mlflow.db*"):
        path.unlink()
    file.write_bytes(whole)
    with jobs_of(record, first.spec, second.spec) as jobs:
        for job in (begun(jobs), begun(jobs)):
            jobs.take(job, epoch(job, 2))
            jobs.take(job, done(job))
    assert jobs.outcome.finished == [first.spec, second.spec]
    assert epochs(record, first.spec) == [1, 2]
