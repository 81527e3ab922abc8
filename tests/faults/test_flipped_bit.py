"""A file of a run holds other bytes than were recorded, or is gone."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.executors.local import LocalExecutor
from mcr_bench.bench.record.files import artifacts
from mcr_bench.bench.record.files.artifacts import PREDICTIONS, SCORES
from mcr_bench.bench.record.tracking import Record
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.records.homes import (
    ASKED,
    COMPARE,
    call,
    change,
    copy_of,
    make_home,
    predictions_of,
    row_of,
    scores_of,
    without_scores,
)
from mcr_bench.tests.support.records.many_runs import specs
from mcr_bench.tests.support.records.recorded import execute

FAULT = Fault(
    "A bit of a run's stored predictions or scores flips, or the file is cut, swapped, emptied or deleted",
    "The file's SHA-256 is on record and compared whenever it is read: metrics stay, scores are read from the "
    "predictions where their own file is lost, what needs a lost file is missing and says so, `results --verify` names "
    "it and exits 1, and --force trains the run again",
)
PLACES = (0.0, 0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 0.999)


def flip(file: Path, place: float, bit: int = 0) -> None:
    content = bytearray(file.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1 << bit
    file.write_bytes(content)


def flip_unseen(file: Path) -> None:
    """As a disk does it: size and times stay."""
    before = file.stat()
    flip(file, 0.5)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap(file: Path) -> None:
    other = next(path for path in file.parents[2].rglob(file.name) if path.read_bytes() != file.read_bytes())
    shutil.copy(other, file)


def to_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


KINDS: dict[str, Callable[[Path], object]] = {
    "cut in half": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "emptied": lambda file: file.write_bytes(b""),
    "a byte more": lambda file: file.write_bytes(file.read_bytes() + b"\0"),
    "zeroed": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "that of another run": swap,
    "text": lambda file: file.write_text("no parquet"),
    "a folder": to_folder,
    "deleted": Path.unlink,
    "its folder deleted": lambda file: shutil.rmtree(file.parent),
    "a link to nowhere": lambda file: (file.unlink(), file.symlink_to("nowhere")),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("flipped"))


@pytest.fixture
def home(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copy_of(template, tmp_path / "home", monkeypatch)


def verified(code: int) -> list[tuple[str, str, str]]:
    """The files that are not whole: name, run and state."""
    files = json.loads(call("results", "--verify", "--json", code=code).stdout)
    return [(one["file"], one["run_id"], one["state"]) for one in files if one["state"] != "whole"]


@pytest.mark.parametrize("place", PLACES)
def test_a_flipped_bit_anywhere_is_seen_by_all_that_reads_the_file(home: Path, place: float) -> None:
    without_scores(home)
    row = row_of(home)
    flip(predictions_of(home, row), place, bit=int(place * 7))
    record = Record(home=home)
    assert row.run_id not in record.samples([row.run_id])
    assert "damaged" in record.lost[0]
    with pytest.raises(UserError, match=r"damaged.*--force"):
        record.predictions(row.run_id)
    assert record.floors([row.run_id]) == {}
    assert len(record.lost) == 1
    assert verified(1) == [(PREDICTIONS, row.run_id, "damaged")]


@pytest.mark.parametrize("name", [PREDICTIONS, SCORES])
@pytest.mark.parametrize("place", PLACES[::3])
def test_a_flipped_bit_of_one_of_the_two_files_changes_no_comparison(home: Path, place: float, name: str) -> None:
    """Scores are read from their own file, or from the predictions where it is damaged."""
    row = row_of(home)
    before = call(*COMPARE).stdout
    flip(predictions_of(home, row, name), place, bit=int(place * 7))
    assert call(*COMPARE).stdout == before
    assert verified(1) == [(name, row.run_id, "damaged")]


@pytest.mark.parametrize("place", PLACES[::3])
def test_flipped_bits_of_both_are_seen(home: Path, place: float) -> None:
    row = row_of(home)
    flip(scores_of(home, row), place)
    flip(predictions_of(home, row), place)
    record = Record(home=home)
    assert record.samples([row.run_id]) == {}
    assert "its predictions.parquet is damaged" in record.lost[0]


@pytest.mark.parametrize("scores", ["with scores", "as of earlier versions"])
@pytest.mark.parametrize("kind", KINDS)
def test_any_other_damage_is_seen_too_and_the_metrics_stay(home: Path, kind: str, scores: str) -> None:
    if scores == "as of earlier versions":
        without_scores(home)
    Record(home=home).prepare()  # addresses are those of this place
    before, compared, row = call("results", "--json").stdout, call(*COMPARE).stdout, row_of(home)
    shutil.rmtree(home / "cache", ignore_errors=True)
    file = predictions_of(home, row)
    size, beside = file.stat().st_size, file.with_name(SCORES)
    KINDS[kind](file)
    assert call("results", "--json").stdout == before
    done = call(*COMPARE)
    lines = [line for line in done.stderr.splitlines() if row.run_id in line]
    state = "missing" if "nowhere" in kind or "deleted" in kind else "unreadable" if kind == "a folder" else "damaged"
    if beside.exists() and file.is_file() and file.stat().st_size == size:  # only who reads the file can see it
        assert (lines, done.stdout) == ([], compared)
    else:
        (line,) = lines
        for part in (row.label, PREDICTIONS, state, "--force"):
            assert part in line
    gone = [SCORES] if scores == "with scores" and not beside.exists() else []
    assert verified(1) == [(name, row.run_id, state) for name in (PREDICTIONS, *gone)]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "its folder deleted"])  # with its predictions
def test_whatever_happens_to_a_file_of_scores_its_predictions_take_its_place(home: Path, kind: str) -> None:
    row, compared = row_of(home), call(*COMPARE).stdout
    KINDS[kind](scores_of(home, row))
    done = call(*COMPARE)
    assert (done.stdout, done.stderr) == (compared, "")
    assert [(name, run_id) for name, run_id, _ in verified(1)] == [(SCORES, row.run_id)]


@pytest.mark.parametrize("verb", [COMPARE, ("plot", "errors", "--baseline", "joint"), ("tables",), ("report",)])
def test_every_verb_says_once_which_file_it_did_without(home: Path, verb: tuple[str, ...]) -> None:
    row = row_of(home)
    predictions_of(home, row).write_bytes(b"")
    baseline = () if "--baseline" in verb else ("--baseline", "joint")
    done = call(*verb, *baseline)
    assert len([line for line in done.stderr.splitlines() if row.run_id in line]) == 1
    if verb == ("report",):
        page = (home / "report.html").read_text(encoding="utf-8")
        assert f"run {row.run_id}: its predictions.parquet is damaged" in page


def test_what_was_kept_of_a_file_does_not_hide_its_damage(home: Path) -> None:
    without_scores(home)
    row = row_of(home)
    assert row.run_id in Record(home=home).samples([row.run_id])  # kept from now on
    flip(predictions_of(home, row), 0.5)
    assert Record(home=home).samples([row.run_id]) == {}


def test_what_was_kept_is_right_where_a_flip_leaves_no_trace_in_the_folder(home: Path) -> None:
    """The scores were read before the flip; `--verify`, which reads every file, names it."""
    without_scores(home)
    row = row_of(home)
    before = Record(home=home).samples([row.run_id])[row.run_id].score
    flip_unseen(predictions_of(home, row))
    assert Record(home=home).samples([row.run_id])[row.run_id].score.tolist() == before.tolist()
    assert verified(1) == [(PREDICTIONS, row.run_id, "damaged")]
    shutil.rmtree(home / "cache")
    assert Record(home=home).samples([row.run_id]) == {}


def test_what_is_kept_is_of_the_recorded_file(home: Path) -> None:
    row, other = row_of(home), row_of(home, seed=1)
    change(home, "UPDATE tags SET value = ? WHERE key LIKE 'sha256/%' AND run_uuid = ?", "0" * 64, row.run_id)
    assert set(Record(home=home).samples([row.run_id, other.run_id])) == {other.run_id}


@pytest.mark.parametrize("column", ["score", "checksum", "stamp", "digest", "run_id", "seal"])
def test_a_changed_cache_is_not_believed(home: Path, column: str) -> None:
    without_scores(home)
    rows = [row_of(home), row_of(home, seed=1)]
    ids = [row.run_id for row in rows]
    good = {run_id: one.score.tolist() for run_id, one in Record(home=home).samples(ids).items()}
    with closing(sqlite3.connect(home / "cache" / "samples.db")) as connection, connection:
        if column == "run_id":
            connection.execute("DELETE FROM sealed WHERE run_id = ?", [ids[1]])
            connection.execute("UPDATE sealed SET run_id = ? WHERE run_id = ?", [ids[1], ids[0]])
        else:
            connection.execute(f"UPDATE sealed SET {column} = zeroblob(48)")
    assert {run_id: one.score.tolist() for run_id, one in Record(home=home).samples(ids).items()} == good


def test_a_run_of_an_earlier_version_is_read_and_said_to_be_unverifiable(home: Path) -> None:
    row = row_of(home)
    assert change(home, "DELETE FROM tags WHERE key LIKE 'sha256/%' AND run_uuid = ?", row.run_id) == 2
    assert row.run_id in Record(home=home).samples([row.run_id])
    assert verified(0) == [(PREDICTIONS, row.run_id, "unverifiable")]
    assert f"unverifiable: predictions.parquet of {row.name}" in call("results", "--verify").stdout


def test_a_damaged_failure_text_is_named_too(home: Path) -> None:
    spec, record = next(specs(methods=1, datasets=1, seeds=1)), Record(home=home)
    record.start(spec)
    record.fail(spec, "ValueError: x")
    assert verified(0) == []
    (file,) = home.rglob("failure.txt")
    flip(file, 0.5)
    assert [name for name, *_ in verified(1)] == ["failure.txt"]


def test_training_again_mends_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = row_of(home)
    flip(predictions_of(home, row), 0.5)
    verified(1)
    monkeypatch.setattr(LocalExecutor, "execute", execute)
    call("run", *ASKED, "--force")
    assert verified(0) == [(PREDICTIONS, row.run_id, "damaged")]
    assert "a later run has replaced this one" in call("results", "--verify").stdout
    assert row.run_id not in call(*COMPARE).stderr


def test_a_copy_put_back_mends_it(home: Path) -> None:
    without_scores(home)
    row = row_of(home)
    file = predictions_of(home, row)
    good = file.read_bytes()
    flip(file, 0.5)
    assert Record(home=home).samples([row.run_id]) == {}
    file.write_bytes(good)
    assert row.run_id in Record(home=home).samples([row.run_id])
    assert verified(0) == []


def test_many_lost_files_do_not_bury_the_answer(home: Path) -> None:
    shutil.rmtree(home / "artifacts")
    done = call(*COMPARE)
    assert len([line for line in done.stderr.splitlines() if line.startswith("left out")]) <= 6
    assert "results --verify" in done.stderr
    assert len(verified(1)) == 2 * len(json.loads(call("results", "--json").stdout))


@pytest.mark.unprotected
def test_a_flipped_bit_is_not_seen_without_checksums(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without checksums a flipped bit changes the scores in silence."""
    row = row_of(home)
    good = Record(home=home).samples([row.run_id])[row.run_id].score.tolist()
    monkeypatch.setattr(artifacts, "content_of", lambda path, _: path.read_bytes())
    file, silent = scores_of(home, row), 0
    content = file.read_bytes()
    for place in range(0, len(content), 7):
        file.write_bytes(content[:place] + bytes([content[place] ^ 64]) + content[place + 1 :])
        scores = Record(home=home).samples([row.run_id])
        silent += row.run_id in scores and scores[row.run_id].score.tolist() != good
        if silent:
            break
    assert silent
