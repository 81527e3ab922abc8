"""`export` and `import`: a record as one file, which comes back as it was."""

import errno
import json
import math
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from mcr_bench.bench.exchange.origins import OfRecord, home_at
from mcr_bench.bench.exchange.whole import Malformed, Point, run_of, text_of
from mcr_bench.bench.record.database.patience import Patience
from mcr_bench.bench.record.tracking import Record
from mcr_bench.tests.support.records.homes import call, change, predictions_of, row_of
from mcr_bench.tests.support.records.moving import RUNS, content


@pytest.fixture
def other(homes: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home `one` is the record of the commands."""
    monkeypatch.setenv("MCR_BENCH_HOME", str(homes / "one"))
    return homes / "one"


def entries(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_what_was_exported_comes_back_as_it_was(homes: Path, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "4 runs written to runs.zip" in call("export", "runs.zip").stdout
    monkeypatch.setenv("MCR_BENCH_HOME", str(homes / "here"))
    assert "4 runs added" in call("import", "runs.zip").stdout
    assert content(homes / "here") == content(other)
    call("export", "again.zip")
    assert (homes / "again.zip").read_bytes() == (homes / "runs.zip").read_bytes()
    assert "0 runs added, 4 finished here already" in call("import", "runs.zip", "again.zip").stdout


@pytest.mark.usefixtures("other")
def test_a_place_where_no_file_can_be_made_is_named(homes: Path) -> None:
    (homes / "file").write_text("x")
    told = call("export", "file/runs.zip", code=2)
    assert not told.stdout
    assert "error: 'file/runs.zip' cannot be written: " in told.stderr


@pytest.mark.usefixtures("other")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize(("place", "work"), [(zipfile.ZipFile, "writestr"), (OfRecord, "content")])
def test_an_archive_for_which_there_is_no_space_does_not_stay(
    number: int, place: type[object], work: str, homes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, "no space", *([str(homes / "download")] if work == "content" else []))

    monkeypatch.setattr(place, work, fail)
    told = call("export", "runs.zip", code=1)
    assert not told.stdout
    name = "download" if work == "content" else "runs.zip"
    assert f"the disk is full: '{name}' could not be written" in told.stderr.replace(f"{homes}/", "")
    assert not list(homes.glob("*runs.zip*"))


@pytest.mark.usefixtures("other")
def test_what_was_imported_before_a_damaged_archive_is_told(homes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call("export", "runs.zip")
    (homes / "cut.zip").write_bytes((homes / "runs.zip").read_bytes()[:1000])
    monkeypatch.setenv("MCR_BENCH_HOME", str(homes / "here"))
    told = call("import", "runs.zip", "cut.zip", code=2)
    assert "'runs.zip': 4 runs added" in told.stdout
    assert "'cut.zip' is not a complete archive" in told.stderr


def test_a_record_that_cannot_be_read_is_named(other: Path) -> None:
    (other / "mlflow.db").write_text("not a database")
    told = call("export", "runs.zip", code=2)
    assert f"the record in '{other}/mlflow.db' cannot be read: database disk image is malformed" in told.stderr


def test_the_archive_can_be_read_without_this_program(homes: Path, other: Path) -> None:
    call("export", "runs.zip")
    files, row = entries(homes / "runs.zip"), row_of(other)
    manifest = json.loads(files["manifest.json"])
    assert (manifest["format"], manifest["schema"], len(manifest["runs"])) == ("mcr-bench runs", 1, RUNS)
    run = json.loads(files[f"runs/{row.key}/run.json"])
    assert run["metrics"]["test/accuracy"][-1][1] == row.value
    assert [step for step, *_ in run["metrics"]["val/accuracy"]] == [1, 2, 3]
    assert run["params"]["optimizer.lr"] == str(row.settings["optimizer.lr"])
    assert run["tags"]["method_digest"] == row.method_digest
    assert files[f"runs/{row.key}/files/predictions.parquet"] == predictions_of(other, row).read_bytes()


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--method", "joint"], 1),
        (["--method", "joint,ensemble"], 2),
        (["--dataset", "synthetic", "--seeds", "0,"], RUNS),
        (["--method", "joint", "--seeds", "0,7"], 1),
    ],
)
@pytest.mark.usefixtures("other")
def test_a_selection(homes: Path, options: list[str], count: int) -> None:
    call("export", "runs.zip", *options)
    assert len(json.loads(entries(homes / "runs.zip")["manifest.json"])["runs"]) == count


def test_a_run_by_the_beginning_of_its_key(homes: Path, other: Path) -> None:
    row = row_of(other)
    call("export", "runs.zip", "--key", row.key[:8])
    assert [run["key"] for run in json.loads(entries(homes / "runs.zip")["manifest.json"])["runs"]] == [row.key]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--method", "jiont"], "Did you mean joint?"),
        (["--dataset", "other"], "unknown dataset on record"),
        (["--seeds", "5,"], "no finished run to export"),
        (["--key", "abc"], "is too short"),
        (["--key", "zzzz"], "begins with 'zzzz'"),
    ],
)
@pytest.mark.usefixtures("other")
def test_nothing_to_export_is_an_error(homes: Path, options: list[str], reason: str) -> None:
    assert reason in call("export", "runs.zip", *options, code=2).stderr
    assert not (homes / "runs.zip").exists()


@pytest.mark.usefixtures("other")
def test_an_existing_file_stays(homes: Path) -> None:
    (homes / "runs.zip").write_text("mine")
    assert "nothing is overwritten" in call("export", "runs.zip", code=2).stderr
    assert (homes / "runs.zip").read_text() == "mine"


def test_a_run_with_a_damaged_file_is_left_out(homes: Path, other: Path) -> None:
    row = row_of(other)
    predictions_of(other, row).write_bytes(b"other bytes")
    told = call("export", "runs.zip", code=1)
    assert f"left out: {row.label} ({row.key})" in told.stderr
    assert len(json.loads(entries(homes / "runs.zip")["manifest.json"])["runs"]) == RUNS - 1


def test_unfinished_runs_are_not_exported(other: Path) -> None:
    change(other, "UPDATE runs SET status = 'FAILED' WHERE run_uuid = ?", row_of(other).run_id)
    assert "3 runs written" in (told := call("export", "runs.zip").stdout)
    assert "1 unfinished left out." in told


def test_numbers_that_are_not_finite_are_moved(homes: Path) -> None:
    with home_at(homes / "one", Patience()) as origin:
        run = origin.whole(origin.runs()[0])
    points = [Point(1, math.nan, 5), Point(2, math.inf, 6), Point(3, -math.inf, 7), Point(3, 0.1, 8)]
    again = run_of(text_of(replace(run, metrics={**run.metrics, "val/loss": points})))
    assert repr(again.metrics["val/loss"]) == repr(points)
    assert again.params == run.params


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        ({"started": 2**53}, "its 'started' is not a whole number from 0 to 9999999999999"),
        ({"ended": 10**13}, "its 'ended' is not a whole number from 0 to"),
        ({"metrics": {"loss": [[1, 0.5, 2**50]]}}, "its 'loss' is not a whole number from 0 to"),
        ({"metrics": {"loss": [[1, 10**400, 5]]}}, "its metric 'loss' has a value that is not a number"),
        ({"metrics": {"loss": [[1, -(10**400), 5]]}}, "its metric 'loss' has a value that is not a number"),
        ({"key": "é" * 20}, "its 'key' is 'éééééééééééééééééééé', which is not allowed"),
        ({"key": "\U0001d4d0" * 63}, "which is not allowed"),
        ({"run_id": "ä" * 32}, "which is not allowed"),
    ],
)
def test_a_text_that_no_record_holds_is_refused(homes: Path, edit: dict[str, object], reason: str) -> None:
    """Times are before the year 2286 (10^13 ms after 1970), and names of files have at most 255 bytes."""
    with home_at(homes / "one", Patience()) as origin:
        text = json.loads(text_of(origin.whole(origin.runs()[0])))
    with pytest.raises(Malformed, match=re.escape(reason)):
        run_of(json.dumps(text | edit).encode())


def test_several_archives(homes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        monkeypatch.setenv("MCR_BENCH_HOME", str(homes / name))
        call("export", f"{name}.zip")
    monkeypatch.setenv("MCR_BENCH_HOME", str(homes / "here"))
    joined = json.loads(call("import", "one.zip", "two.zip", "--json").stdout)
    assert [one["added"] for one in joined] == [RUNS, RUNS]
    assert len(Record().rows()) == 2 * RUNS


@pytest.mark.parametrize("verb", ["export", "submit"])
def test_where_no_run_can_be_read_there_is_no_archive(homes: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.setenv("MCR_BENCH_HOME", str(homes / "one"))
    for file in homes.glob("one/artifacts/*/*/artifacts/predictions.parquet"):
        file.write_bytes(b"damaged")
    told = call(verb, "none.zip", code=2).stderr
    assert "left out: " in told
    assert "'none.zip' is not written, as none of" in told
    assert not (homes / "none.zip").exists()


def test_publish_takes_the_record_or_homes(homes: Path) -> None:
    told = call("publish", "one", "--tracking-uri", "sqlite:///x.db", code=2).stderr
    assert "--tracking-uri names the record, and homes or archives are given" in told
    assert not (homes / "here/site").exists()
