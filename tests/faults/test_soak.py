"""Many short runs of one command while something of it is killed at random, again and again."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mcr_bench.bench.record import writer
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import EpochDone
from mcr_bench.tests.support.faults import LEAST_TRIALS, Fault
from mcr_bench.tests.support.records.homes import change, make_home, row_of
from mcr_bench.tests.support.records.many_runs import specs
from mcr_bench.tests.support.runs.soak import Soak, counted, soak

FAULT = Fault(
    "the command, a worker or a run is killed (kill -9) every few seconds, at random; a trial is a kill",
    "the same command goes on: no run is lost, none is recorded twice, and every metric equals the undisturbed one",
)
RUNS, EVERY = int(os.environ.get("MCR_BENCH_SOAK", "20")), 6.0  # each of five soaks; MCR_BENCH_SOAK=500 for a night
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are found in /proc, which is Linux's"),
]


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_lost_doubled_or_wrong(
    seed: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    done = soak(RUNS, EVERY, seed, tmp_path)
    kills = done.killed.total() - done.killed["nothing"]
    record_property("times", kills)
    assert done.runs == RUNS
    assert kills >= LEAST_TRIALS / 5
    assert (done.lost, done.duplicated, done.wrong) == (0, 0, 0), done


COPY = "INSERT INTO {table} SELECT {columns} FROM {table} WHERE run_uuid = ?"
PLANTED = {
    "lost: it is still running": ((1, 0, 0), "UPDATE runs SET status = 'RUNNING' WHERE run_uuid = ?"),
    "lost: it is deleted": ((1, 0, 0), "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?"),
    "lost: it has no key": ((1, 0, 0), "DELETE FROM tags WHERE key = 'key' AND run_uuid = ?"),
    "doubled: a point of a curve": (
        (0, 1, 0),
        "INSERT INTO metrics SELECT key, value, timestamp + 1, run_uuid, step, is_nan FROM metrics "
        "WHERE key = 'epoch' AND step = 2 AND run_uuid = ?",
    ),
    "wrong: the last digit of a final value": (
        (0, 0, 1),
        "UPDATE metrics SET value = value + 1e-15 WHERE key = 'test/accuracy' AND run_uuid = ?",
    ),
    "wrong: a point is missing": ((0, 0, 1), "DELETE FROM metrics WHERE key = 'epoch' AND step = 2 AND run_uuid = ?"),
    "wrong: a point has moved": (
        (0, 0, 1),
        "UPDATE metrics SET step = 4 WHERE key = 'epoch' AND step = 2 AND run_uuid = ?",
    ),
}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("soaked"))


@pytest.fixture
def home(calm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Path(shutil.copytree(calm, tmp_path / "home"))


@pytest.mark.unprotected
@pytest.mark.parametrize("planted", PLANTED)
def test_the_count_notices(calm: Path, home: Path, planted: str) -> None:
    """A run that is lost, doubled or wrong, planted by hand, is counted"""
    assert _count(calm, home) == (0, 0, 0)
    expected, statement = PLANTED[planted]
    assert change(home, statement, row_of(home).run_id) == 1
    assert _count(calm, home) == expected


@pytest.mark.unprotected
def test_the_count_notices_a_key_with_two_finished_runs(calm: Path, home: Path) -> None:
    """A run that is lost, doubled or wrong, planted by hand, is counted"""
    one, other = row_of(home), row_of(home, seed=1)
    change(home, "UPDATE tags SET value = ? WHERE key = 'key' AND run_uuid = ?", one.key, other.run_id)
    lost, doubled, wrong = _count(calm, home)
    assert (lost, wrong) == (1, 1)
    assert doubled >= 1


@pytest.mark.unprotected
def test_without_knowing_what_is_logged(
    calm: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a run that goes on does not know what it has logged, points of its curves are recorded twice"""
    known, calm = writer._Open, Path(shutil.copytree(calm, tmp_path / "calm"))
    for place, again in ((calm, known), (home, lambda run_id, *_: known(run_id, 0, frozenset()))):
        spec = next(specs(1, 1, 1))
        for last, opened in ((2, known), (3, again)):
            monkeypatch.setattr(writer, "_Open", opened)
            record = Record(home=place)
            record.start(spec)
            for epoch in range(1, last + 1):
                record.log_epoch(spec, EpochDone(spec.key, epoch, 3, {"val/accuracy": epoch / 10}, 1000.0 * last))
            if last == 2:
                record.kill(spec)
        record.finish(spec, {"test/accuracy": 0.5})
    assert _count(calm, home) == (0, 4, 0)  # two epochs, each with its number and an accuracy


def _count(calm: Path, home: Path) -> tuple[int, int, int]:
    done = counted(calm, home, Soak())
    return done.lost, done.duplicated, done.wrong
