"""The clock is set back, or forward and back: which of several runs is the newest."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from mcr_bench.bench.analysis.comparisons import comparisons
from mcr_bench.bench.analysis.published_match import Runs
from mcr_bench.bench.record import sqlite, tracking, writing
from mcr_bench.bench.record.outbox.entries import Opening
from mcr_bench.bench.record.outbox.shipment import Shipment, journals, waiting
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.record.runs import MOMENT, TURN
from mcr_bench.bench.record.store import SearchReader
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import EpochDone
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.records.homes import call, change
from mcr_bench.tests.support.records.many_runs import specs
from mcr_bench.tests.support.records.recorded import empty_record
from mcr_bench.tests.support.servers.real import Server

FAULT = Fault(
    "The clock is set back, between two runs or in the middle of one, by a second or to 1970, here or elsewhere",
    "Of a key that is trained again the newest run is shown, and what are the newest data, settings and code is known "
    "by the order in which runs were begun in the record",
)
NOW, DAY = 1_790_000_000.0, 86_400.0
TO_1970 = NOW - 1.0
DEAR = pytest.mark.slow
CLOCKS = {  # what the clock says at the start of the first run, and then of the second
    "a millisecond back": (NOW, NOW - 0.001),
    "a second back": (NOW, NOW - 1),
    "a day back": (NOW, NOW - DAY),
    "to 1970": (NOW, NOW - TO_1970),
    "from ten years ahead": (NOW + 3653 * DAY, NOW),
    "stopped": (NOW, NOW),
    "as it should be": (NOW, NOW + 60),
}
RUN = next(iter(specs(methods=1, datasets=1, seeds=1)))


@dataclass
class Clock:
    """What the record's clock says."""

    now: float = NOW

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (writing, tracking):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=clock.time, monotonic=time.monotonic))
    for name in ("MLFLOW_TRACKING_URI", "MCR_BENCH_HOME"):
        monkeypatch.delenv(name, raising=False)
    return clock


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Record:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return Record(home=tmp_path_factory.mktemp("empty"))


@pytest.fixture
def record(template: Record, tmp_path: Path) -> Record:
    return empty_record(template, tmp_path / "home")


def train(record: Record, spec: RunSpec = RUN, value: float = 0.5, again: bool = False) -> None:
    """A whole run."""
    assert record.start(spec, again) is not None
    record.log_epoch(spec, EpochDone(spec.key, 1, 1, {"val/accuracy": value}, writing.time.time()))
    record.finish(spec, {"test/accuracy": value, "epochs": 1.0})


def other_data(spec: RunSpec) -> RunSpec:
    return replace(spec, fingerprint="1" * 64)


def other_settings(spec: RunSpec) -> RunSpec:
    return replace(spec, training={**spec.training, "optimizer.momentum": 0.5})


def other_code(spec: RunSpec) -> RunSpec:
    return replace(spec, method_digest="1" * 16)


BACK = pytest.mark.parametrize("back", [pytest.param(1, marks=DEAR), DAY, pytest.param(TO_1970, marks=DEAR)])
CHANGES: dict[str, Callable[[RunSpec], RunSpec]] = {
    "forced": lambda spec: spec,
    "other data": other_data,
    "other settings": other_settings,
    "other code": other_code,
}
EVERY = [
    pytest.param(then, change, id=f"{name}, {what}", marks=[] if name == "a day back" else DEAR)
    for name, then in CLOCKS.items()
    for what, change in CHANGES.items()
]


def shown(rows: list[RunRow]) -> float | None:
    """The value that tables show: of the newest data, and of each label its newest settings and code."""
    (newest,) = (one for one in comparisons(rows, "joint") if not one.older)
    ((row,),) = newest.lines.values()
    for runs in Runs(rows).by_target.values():
        assert [one.value for setup in runs.values() for one in setup] == [row.value]
    return row.value


@pytest.mark.parametrize(("then", "change"), EVERY)
def test_the_second_run_is_the_newest(
    record: Record, clock: Clock, then: tuple[float, float], change: Callable[[RunSpec], RunSpec]
) -> None:
    again = change(RUN) == RUN
    clock.now, after = then
    train(record, value=0.25)
    clock.now = after
    train(record, change(RUN), 0.75, again)
    assert shown(record.rows()) == 0.75
    assert shown(Record(home=record.home).rows()) == 0.75
    assert {row.started for row in record.rows()} <= {round(one, 3) for one in then}


@pytest.mark.parametrize("change", ["forced", "other data"])
def test_forward_and_back_many_times(record: Record, clock: Clock, change: str) -> None:
    """Ten runs, at each of which the clock is somewhere else."""
    for number, shift in enumerate((0, 9, -3, 400, -400, 1, 1, -20_000, 7, -8)):
        clock.now = NOW + shift * DAY
        spec = RUN if change == "forced" else replace(RUN, fingerprint=f"{number}" * 64)
        train(record, spec, number / 10, again=change == "forced")
        assert shown(record.rows()) == number / 10


@BACK
def test_in_the_middle_of_a_run(record: Record, clock: Clock, back: float) -> None:
    """Between its start and its epochs, between its epochs, and before its end."""
    record.start(RUN)
    for number in (1, 2, 3):
        record.log_epoch(
            RUN, EpochDone(RUN.key, number, 3, {"val/accuracy": number / 10}, max(0.0, clock.now - number * back))
        )
    clock.now -= back
    record.finish(RUN, {"test/accuracy": 0.5, "epochs": 3.0})
    (row,) = record.rows()
    assert (row.status, row.value, row.metrics["val/accuracy"]) == ("finished", 0.5, 0.3)
    assert record.history(row.run_id)["val/accuracy"] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    train(record, other_data(RUN), 0.75)
    assert shown(record.rows()) == 0.75


@BACK
def test_a_run_that_goes_on(record: Record, clock: Clock, back: float) -> None:
    """It keeps its place: what was begun after it is newer, although it ended before."""
    record.start(RUN)
    record.log_epoch(RUN, EpochDone(RUN.key, 1, 2, {"val/accuracy": 0.1}, clock.now))
    record.kill(RUN)
    clock.now -= back
    train(record, other_data(RUN), 0.75)
    record.start(RUN)
    record.log_epoch(RUN, EpochDone(RUN.key, 2, 2, {"val/accuracy": 0.2}, clock.now))
    record.finish(RUN, {"test/accuracy": 0.25, "epochs": 2.0})
    assert shown(record.rows()) == 0.75
    (row,) = (one for one in record.rows() if one.key == RUN.key)
    assert record.history(row.run_id)["val/accuracy"] == [(1, 0.1), (2, 0.2)]


@pytest.mark.parametrize("back", [1, TO_1970])
def test_a_run_that_failed_and_is_tried_again(record: Record, clock: Clock, back: float) -> None:
    record.start(RUN)
    record.fail(RUN, "ValueError: x")
    clock.now -= back
    train(record, value=0.75)
    assert [(row.status, row.value) for row in record.rows()] == [("finished", 0.75)]


@pytest.mark.parametrize("way", ["merge", pytest.param("export and import", marks=DEAR)])
@BACK
def test_a_run_after_runs_of_another_machine_were_joined(
    record: Record,
    template: Record,
    tmp_path: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    back: float,
) -> None:
    """What is trained here afterwards is newer, whatever the clocks of the two said."""
    other = empty_record(template, tmp_path / "other")
    train(other, value=0.25)
    train(other, other_settings(RUN), 0.3)
    join(way, other, record, monkeypatch)
    clock.now -= back
    train(record, other_data(RUN), 0.75)
    assert shown(record.rows()) == 0.75
    train(record, other_code(other_data(RUN)), 0.8)
    assert shown(record.rows()) == 0.8


def join(way: str, other: Record, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "merge":
        monkeypatch.setenv("MCR_BENCH_HOME", str(record.home))
        call("merge", str(other.home))
        return
    archive = str(other.home.parent / "runs.zip")
    for verb, home in (("export", other.home), ("import", record.home)):
        monkeypatch.setenv("MCR_BENCH_HOME", str(home))
        call(verb, archive)


def test_an_order_that_another_machine_knew_is_kept(
    record: Record, template: Record, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of a machine whose clock was set back keep their order where they are joined."""
    other = empty_record(template, tmp_path / "other")
    train(other, value=0.25)
    clock.now -= DAY
    train(other, other_data(RUN), 0.75)
    join("merge", other, record, monkeypatch)
    assert shown(record.rows()) == 0.75


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [-DAY, -1, 1, DAY])
def test_two_machines_write_in_turn(tmp_path: Path, clock: Clock, ahead: float) -> None:
    """To one tracking server, with clocks that differ: whoever comes later is newer."""
    server = Server(tmp_path / "server").start().wait()
    try:
        one, two = (Record(server.uri, tmp_path / name) for name in ("one", "two"))
        for number, record in enumerate((one, two, one, two)):
            clock.now = NOW + (ahead if record is two else 0) + number
            train(record, replace(RUN, fingerprint=f"{number}" * 64), number / 10)
            assert record.settle() == {}
            assert shown(record.rows()) == number / 10
            train(record, replace(RUN, fingerprint=f"{number}" * 64), number / 10 + 0.05, again=True)
            assert record.settle() == {}
            assert shown(record.rows()) == number / 10 + 0.05
    finally:
        server.kill()


@BACK
def test_what_a_server_is_still_owed_keeps_its_order(tmp_path: Path, clock: Clock, back: float) -> None:
    """Two commands could not tell the server of their trainings of one key."""
    for number in range(12):
        opening = Opening(RUN.key, "many-00", "a run", {}, {}, True, clock.now, f"{number * 7 % 12:012x}")
        Shipment.begin(tmp_path, opening).lock.release()
        clock.now -= back
    owed, problems = waiting(tmp_path)
    assert [one.opening.when for one in owed] == [NOW - number * back for number in range(12)]
    assert (problems, len(journals(tmp_path))) == ([], 12)


def test_a_run_that_was_hidden_comes_back_where_it_was(
    record: Record, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its key was trained once more while it was hidden."""
    monkeypatch.setenv("MCR_BENCH_HOME", str(record.home))
    train(record, value=0.25)
    call("forget", "--method", RUN.method, "--yes")
    clock.now -= DAY
    train(record, value=0.75)
    call("forget", "--undo", "--yes")
    assert shown(record.rows()) == 0.75


@pytest.mark.parametrize("tag", [MOMENT, TURN])
def test_runs_of_earlier_versions_are_older(record: Record, clock: Clock, tag: str) -> None:
    """They have no such tag; what is trained now is newer, although the clock was set back."""
    train(record, value=0.25)
    assert change(record.home, "DELETE FROM tags WHERE key = ?", tag) == 1
    clock.now -= DAY
    train(record, other_data(RUN), 0.75)
    assert shown(record.rows()) == 0.75
    train(record, other_data(RUN), 0.8, again=True)
    assert shown(record.rows()) == 0.8


@pytest.mark.parametrize(
    "text",
    ["soon", "9" * 30, "9" * 15, "9" * 18, *(pytest.param(text, marks=DEAR) for text in ("", "-5", "1e9", "٣" * 15))],
)
def test_a_moment_that_was_edited_stops_nothing(record: Record, clock: Clock, text: str) -> None:
    train(record, value=0.25)
    change(record.home, "UPDATE tags SET value = ? WHERE key = ?", text, MOMENT)
    clock.now += 1
    train(record, other_data(RUN), 0.75)
    assert shown(record.rows()) == 0.75


@pytest.mark.parametrize("count", [pytest.param(0, marks=DEAR), pytest.param(1, marks=DEAR), 3])
def test_the_last_moment_is_the_same_by_both_ways_to_read_a_record(record: Record, clock: Clock, count: int) -> None:
    """From the tables of the database, and by MLflow's search."""
    for number in range(count):
        train(record, replace(RUN, fingerprint=f"{number}" * 64))
        clock.now -= DAY
        train(record, replace(RUN, fingerprint=f"{number}" * 64), again=True)
        clock.now -= DAY
    change(record.home, "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid != ?", "none")
    key, last = replace(RUN, fingerprint="0" * 64).key, round(NOW * 1000) + 2 * count - 1 if count else 0
    asked = [(RUN.dataset, key), (RUN.dataset, "no such key"), ("another", "no such key")]
    latest = [sqlite.SqliteReader(record.home / "mlflow.db").latest(*names) for names in asked]
    assert latest == [SearchReader(lambda: record.client).latest(*names) for names in asked]
    assert latest == [(last, min(2 * count, 2)), (last, 0), (0, 0)]


def test_a_run_that_is_brought_back_does_not_replace_a_newer_one(record: Record) -> None:
    """Hidden ones count where the next run of their key gets its turn."""
    train(record, value=0.25)
    train(record, value=0.5, again=True)
    change(record.home, "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid != ?", "none")
    train(record, value=0.75)
    change(record.home, "UPDATE runs SET lifecycle_stage = 'active' WHERE run_uuid != ?", "none")
    assert shown(record.rows()) == 0.75


@pytest.mark.parametrize("text", ["9" * 15, "9" * 18, "9" * 40])
def test_a_turn_that_was_edited_stops_nothing(record: Record, text: str) -> None:
    train(record, value=0.25)
    change(record.home, "UPDATE tags SET value = ? WHERE key = ?", text, TURN)
    train(record, value=0.5, again=True)
    train(record, value=0.75, again=True)
    assert shown(record.rows()) == 0.75


@pytest.mark.unprotected
@pytest.mark.parametrize("change", ["other data", "other settings", "other code"])
def test_by_the_clock_alone(record: Record, clock: Clock, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """By the clock alone, results of older data, settings or code are shown as the newest"""
    monkeypatch.setattr(RunRow, "order", property(lambda row: row.started))
    train(record, value=0.25)
    clock.now -= DAY
    train(record, CHANGES[change](RUN), 0.75)
    assert shown(record.rows()) == 0.25


@pytest.mark.unprotected
def test_without_a_turn(record: Record, clock: Clock) -> None:
    """Without the tags, the old run of a key that was trained again is shown"""
    train(record, value=0.25)
    clock.now -= DAY
    train(record, value=0.75, again=True)
    change(record.home, "DELETE FROM tags WHERE key IN (?, ?)", TURN, MOMENT)
    assert shown(record.rows()) == 0.25
