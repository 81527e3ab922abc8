"""Two commands, or two users, at one record at the same time."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mcr_bench.bench.record.database import snapshot
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import EpochDone
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.records.many_runs import specs

FAULT = Fault(
    "Two commands read and write one record at the same time",
    "Both finish, and every value of both is on record once",
)
OTHER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT count(*) FROM runs").fetchone()[0])
connection.close()
"""
WRITER = """
import sys
from pathlib import Path
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import EpochDone
from mcr_bench.tests.support.records.many_runs import specs
home, turn, of, again = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "again"
record = Record(home=home)
for spec in list(specs(methods=6, datasets=1, seeds=1))[turn::of]:
    if record.start(spec, again) is not None:
        for number in (1, 2, 3):
            record.log_epoch(spec, EpochDone(spec.key, number, 3, {"val/accuracy": number / 10}, 1000.0 + number))
        record.rows()
        record.finish(spec, {"test/accuracy": 0.5})
"""


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Record(home=tmp_path / "home")


def many() -> list[RunSpec]:
    return list(specs(methods=6, datasets=2, seeds=1))


def other_reader(record: Record) -> int:
    """Another process opens the database and leaves it: the last one to leave clears SQLite's log away."""
    command = [sys.executable, "-c", OTHER, str(record.home / "mlflow.db")]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def seen_by_others(record: Record) -> set[str]:
    script = "import sys; from pathlib import Path; from mcr_bench.bench.record.tracking import Record;"
    script += "print(*[row.key for row in Record(home=Path(sys.argv[1])).rows()])"
    command = [sys.executable, "-c", script, str(record.home)]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


READS = {
    "its rows": lambda record: record.rows(),
    "what is finished": lambda record: record.finished_keys({spec.key for spec in many()}),
    "scores": lambda record: record.samples([row.run_id for row in record.rows()]),
    "a curve": lambda record: [record.history(row.run_id) for row in record.rows()],
    "its files": lambda record: record.checked(),
    "all by another record": lambda record: Record(home=record.home).rows(),
}


@pytest.mark.parametrize("read", READS)
def test_a_writer_that_reads_keeps_its_locks(record: Record, read: str) -> None:
    """A process that closes the database file loses the locks of its connections, and others clear the log away."""
    first, second, third, *_ = many()
    for spec in (first, second):
        record.start(spec)
        record.finish(spec, {"test/accuracy": 0.5})
        READS[read](record)
        other_reader(record)
    record.start(third)
    assert other_reader(record) == 3
    assert {row.key for row in record.rows()} == {first.key, second.key, third.key}
    with closing(sqlite3.connect(record.home / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.slow
@pytest.mark.parametrize("of", [2, 3])
@pytest.mark.parametrize("again", ["again", "once"])
def test_writers_of_one_record_lose_nothing(tmp_path: Path, again: str, of: int) -> None:
    """From the moment at which the first one makes the record; `once`: all of them want the same runs."""
    shares = [(turn, of) if again == "again" else (0, 1) for turn in range(of)]
    commands = [
        [sys.executable, "-c", WRITER, str(tmp_path / "home"), str(turn), str(parts), again] for turn, parts in shares
    ]
    writers = [subprocess.Popen(one, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for one in commands]
    assert [writer.communicate(timeout=600)[0] for writer in writers] == [""] * of
    rows = Record(home=tmp_path / "home").rows()
    assert {row.key for row in rows} == {spec.key for spec in specs(methods=6, datasets=1, seeds=1)}
    assert {row.status for row in rows} == {"finished"}
    for row in rows:
        curve = Record(home=tmp_path / "home").history(row.run_id)["val/accuracy"]
        assert curve == [(1, 0.1), (2, 0.2), (3, 0.3)]


@pytest.mark.parametrize("number", range(6))
def test_what_one_has_written_the_other_reads_at_once(record: Record, number: int) -> None:
    reader, spec = Record(home=record.home), many()[number]
    assert reader.rows() == []
    record.start(spec)
    assert [row.status for row in reader.rows()] == ["running"]
    record.log_epoch(spec, EpochDone(spec.key, 1, 3, {"val/accuracy": 0.1}, 1000.0))
    record.finish(spec, {"test/accuracy": 0.25})
    (row,) = reader.rows()
    assert (row.status, row.metrics["test/accuracy"], row.metrics["val/accuracy"]) == ("finished", 0.25, 0.1)
    assert reader.finished_keys([spec.key]) == {spec.key}


def test_two_open_records_start_each_run_once(record: Record) -> None:
    other = Record(home=record.home)
    for spec in many():
        assert record.start(spec) == other.start(spec)
        record.finish(spec, {"test/accuracy": 0.5})
        assert other.start(spec) is None
    assert seen_by_others(record) == {spec.key for spec in many()}


@pytest.mark.unprotected
def test_opening_the_database_as_a_file_loses_runs(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """If reading opens and closes the database as a plain file, SQLite's locks end and what is written later is lost"""
    stamp = snapshot._stamp

    def opening(path: Path) -> tuple[int, int, int] | None:
        if path.suffix == ".db":
            path.open("rb").close()
        return stamp(path)

    monkeypatch.setattr(snapshot, "_stamp", opening)
    first, second, *_ = many()
    record.start(first)
    record.rows()
    other_reader(record)
    try:
        record.start(second)
        lost = second.key not in seen_by_others(record)
    except Exception:  # or SQLite notices
        lost = True
    assert lost
