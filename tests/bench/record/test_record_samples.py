"""Per-sample scores: right for both kinds of label, shared names, kept for the next time, never from a broken file."""

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mcr_bench.bench.record.files.artifacts import PREDICTIONS, SCORES, Artifact
from mcr_bench.bench.record.files.cache import Kept, SamplesCache
from mcr_bench.bench.record.files.checksums import checksum
from mcr_bench.bench.record.files.lost import state_of
from mcr_bench.bench.record.files.predictions import with_scores
from mcr_bench.bench.record.files.samples import Samples, read_samples
from mcr_bench.bench.record.files.scores import SIZE, labels_of
from mcr_bench.bench.record.files.threads import LONGEST, in_threads

LOGITS = [[0.0, 2.0], [5.0, 1.0], [0.0, 1.0], [3.0, 0.0]]
Lists = list[list[float]]
PARTS = ["val", "test", "test", "test"]


def write(path: Path, label: object, ids: Sequence[str] = "abcd", logits: Lists = LOGITS) -> Path:
    columns = {"part": pa.array(PARTS), "id": pa.array(list(ids)), "group": pa.array(["g", "g", "h", "h"])}
    lists = pa.array(logits, type=pa.list_(pa.float32(), len(logits[0])))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({**columns, "label": pa.array(label), "logits": lists, "modality/m": lists}), path)
    return path


def finder(folder: Path, asked: list[str], final: bool) -> Callable[[str, str], Artifact]:
    """Finds predictions that a run of an earlier version has, as FOLDER/RUN.parquet; counts which are opened."""

    class Opened(Artifact):
        def content(self) -> bytes:
            assert self.path is not None
            asked.append(self.path.stem)
            return super().content()

    def find(run_id: str, name: str) -> Artifact:
        return Opened(name, folder / f"{run_id}.parquet", final)

    return find


def read(folder: Path, *run_ids: str, final: bool = True) -> tuple[dict[str, Samples], list[str]]:
    """The samples, and the runs whose file was opened for them."""
    asked: list[str] = []
    return read_samples(run_ids, finder(folder, asked, final), folder / "cache" / "samples.db"), sorted(asked)


def read_run(folder: Path, lost: list[str] | None = None) -> dict[str, Samples]:
    """The samples of the run "r", whose files lie in a folder and have the checksums that they have now."""

    def find(_: str, name: str) -> Artifact:
        path = folder / name
        return Artifact(name, path, True, checksum(path.read_bytes()) if path.is_file() else "")

    told = [] if lost is None else lost
    return read_samples(["r"], find, folder / "cache.db", lambda _, error: told.append(state_of(error)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "r.parquet", [1, 0, 0, 0])
    write(tmp_path / "s.parquet", [1, 1, 1, 0])
    return tmp_path


def test_a_right_class_scores_one_on_the_test_part_alone(folder: Path) -> None:
    found, _ = read(folder, "r", "s")
    assert found["r"].score.tolist() == [1.0, 0.0, 1.0]
    assert found["s"].score.tolist() == [0.0, 1.0, 1.0]
    assert (found["r"].ids.tolist(), found["r"].groups.tolist()) == (["b", "c", "d"], ["g", "h", "h"])
    assert (found["r"].score.dtype, found["r"].ids.dtype.kind) == (np.float32, "U")


def test_a_number_scores_its_absolute_error(tmp_path: Path) -> None:
    write(tmp_path / "r.parquet", [0.5, 1.5, -1.0, 2.75], logits=[[0.0], [1.0], [1.0], [3.0]])
    found, _ = read(tmp_path, "r")
    assert found["r"].score.tolist() == [0.5, 2.0, 0.25]


@pytest.mark.parametrize("again", [False, True], ids=["cold", "warm"])
def test_equal_names_are_shared_and_nothing_can_be_changed(folder: Path, again: bool) -> None:
    write(folder / "t.parquet", [1, 0, 0, 0], ids="abce")
    if again:
        read(folder, "r", "s", "t")
    found, _ = read(folder, "r", "s", "t")
    assert found["r"].ids is found["s"].ids
    assert found["r"].groups is found["s"].groups
    assert found["t"].ids.tolist() == ["b", "c", "e"]
    for array in (found["r"].ids, found["r"].groups, found["r"].score):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1]


def test_a_finished_run_is_read_once(folder: Path) -> None:
    first, asked = read(folder, "r", "s", "r")
    assert asked == ["r", "s"]
    second, asked = read(folder, "s", "r")
    assert (list(second), asked) == (["s", "r"], [])
    assert second["r"].score.tolist() == first["r"].score.tolist()
    assert second["r"].ids.tolist() == first["r"].ids.tolist()


def test_a_run_that_is_not_finished_is_read_each_time(folder: Path) -> None:
    read(folder, "r", final=False)
    write(folder / "r.parquet", [1, 1, 1, 1])
    found, asked = read(folder, "r", final=False)
    assert (found["r"].score.tolist(), asked) == ([0.0, 1.0, 0.0], ["r"])


def test_runs_without_a_readable_file_are_left_out_and_not_kept(folder: Path) -> None:
    (folder / "text.parquet").write_text("no parquet")
    (folder / "cut.parquet").write_bytes((folder / "r.parquet").read_bytes()[:-200])
    pq.write_table(pa.table({"part": ["test"], "id": ["a"]}), folder / "columns.parquet")
    bad = ["missing", "text", "cut", "columns"]
    assert list(read(folder, "r", *bad)[0]) == ["r"]
    write(folder / "cut.parquet", [1, 1, 1, 1])
    found, asked = read(folder, "r", *bad)
    assert (list(found), asked) == (["r", "cut"], sorted(bad))


def test_no_run_is_no_file(folder: Path) -> None:
    assert read(folder) == ({}, [])
    assert not (folder / "cache").exists()


@pytest.mark.parametrize("damage", ["text", "cut", "other tables", "directory"])
def test_a_broken_cache_costs_time_and_no_more(folder: Path, damage: str) -> None:
    good, _ = read(folder, "r", "s")
    cache = folder / "cache" / "samples.db"
    if damage == "text":
        cache.write_text("not a database" * 1000)
    elif damage == "cut":
        cache.write_bytes(cache.read_bytes()[:5000])
    else:
        cache.unlink()
    if damage == "other tables":
        sqlite3.connect(cache).execute("CREATE TABLE sealed (x)").connection.close()
    if damage == "directory":
        cache.mkdir()
    found, asked = read(folder, "r", "s")
    assert asked == ["r", "s"]
    assert {run: one.score.tolist() for run, one in found.items()} == {r: one.score.tolist() for r, one in good.items()}
    assert read(folder, "r", "s")[1] == ([] if damage in ("text", "cut") else ["r", "s"])


@pytest.mark.parametrize(
    "change", ["UPDATE sealed SET score = x'0000803f' WHERE run_id = 'r'", "UPDATE names SET text = '[[], []]'"]
)
def test_changed_bytes_in_the_cache_are_found_out(folder: Path, change: str) -> None:
    good, _ = read(folder, "r")
    with sqlite3.connect(folder / "cache" / "samples.db") as connection:
        connection.execute(change)
    connection.close()
    found, asked = read(folder, "r")
    assert (found["r"].score.tolist(), asked) == (good["r"].score.tolist(), ["r"])


def test_two_commands_may_keep_the_same_runs(tmp_path: Path) -> None:
    one, two = SamplesCache(tmp_path / "c" / "x.db"), SamplesCache(tmp_path / "c" / "x.db")
    assert one.read(["a"]) == {}
    kept = {run: Kept('[["i"], ["g"]]', b"\0\0\0\0", "sum", "stamp") for run in "abc"}
    one.write({"a": kept["a"], "b": kept["b"]})
    two.write({"b": kept["b"], "c": kept["c"]})
    assert one.read("abcd") == two.read("abcd") == kept


def test_files_whose_ids_or_parts_differ_keep_their_own(folder: Path) -> None:
    write(folder / "other.parquet", [1, 0, 0, 0], ids="abce")
    columns = pq.read_table(folder / "r.parquet")
    moved = columns.set_column(0, "part", pa.array(["test", "val", "test", "test"]))
    pq.write_table(moved, folder / "moved.parquet")
    found, _ = read(folder, "r", "other", "moved")
    assert [found[name].ids.tolist() for name in ("r", "other", "moved")] == [list("bcd"), list("bce"), list("acd")]
    assert found["moved"].score.tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("how", [{"compression": "gzip"}, {"row_group_size": 1}, {"use_dictionary": False}])
def test_the_samples_do_not_depend_on_how_a_file_was_written(folder: Path, how: dict[str, object]) -> None:
    pq.write_table(pq.read_table(folder / "s.parquet"), folder / "t.parquet", **how)
    found, _ = read(folder, "s", "t")
    assert found["t"].ids.tolist() == found["s"].ids.tolist()
    assert found["t"].score.tolist() == found["s"].score.tolist()


def test_columns_that_files_share_are_decoded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[list[str]] = []
    whole = pq.ParquetFile.read

    def reading(file: pq.ParquetFile, columns: list[str], **rest: bool) -> pa.Table:
        decoded.append(columns)
        return whole(file, columns=columns, **rest)

    monkeypatch.setattr(pq.ParquetFile, "read", reading)
    monkeypatch.setattr("mcr_bench.bench.record.files.samples.in_threads", lambda read, names: [*map(read, names)])
    read(folder, "r", "s")
    assert [sorted(columns) for columns in decoded].count(["group", "id", "part"]) == 1


@pytest.mark.parametrize(
    ("label", "logits"),
    [
        ([1, 0, 0, 0], LOGITS),
        ([0.5, 1.5, -1.0, 2.75], [[0.0], [1.0], [1.0], [3.0]]),
        ([[0, 1], [1, 0], [0, 1], [1, 1]], [[-1.0, 2.0], [1.0, 1.0], [-3.0, 0.5], [1.0, 2.0]]),
    ],
    ids=["classes", "a number", "several labels"],
)
def test_the_file_of_scores_says_what_the_predictions_say(tmp_path: Path, label: list[float], logits: Lists) -> None:
    shape = pa.list_(pa.int8(), 2) if isinstance(label[0], list) else None
    files = with_scores([write(tmp_path / PREDICTIONS, pa.array(label, shape), logits=logits)])
    assert [file.name for file in files] == [PREDICTIONS, SCORES]
    short = read_run(tmp_path)["r"]
    assert not (tmp_path / "cache.db").exists()  # reading the small file takes no longer
    files[1].unlink()
    long = read_run(tmp_path)["r"]
    assert (tmp_path / "cache.db").exists()
    assert short.score.tolist() == long.score.tolist()
    assert short.ids.tolist() == long.ids.tolist() == ["b", "c", "d"]
    assert short.groups.tolist() == long.groups.tolist() == ["g", "h", "h"]


def test_scores_of_other_predictions_do_not_count(tmp_path: Path) -> None:
    predictions, _ = with_scores([write(tmp_path / PREDICTIONS, [1, 0, 0, 0])])
    assert read_run(tmp_path)["r"].score.tolist() == [1.0, 0.0, 1.0]
    write(predictions, [1, 1, 1, 0], ids=["a", "b", "c", "another"])
    assert read_run(tmp_path)["r"].ids.tolist() == ["b", "c", "another"]
    assert read_run(tmp_path)["r"].score.tolist() == [0.0, 1.0, 1.0]
    predictions.unlink()
    lost: list[str] = []
    assert read_run(tmp_path, lost) == {}
    assert lost == ["missing"]


@pytest.mark.parametrize("kind", ["text", "null", "no size", "a word as size", "predictions", "no parquet"])
def test_a_file_of_scores_that_is_none_gives_way_to_the_predictions(tmp_path: Path, kind: str) -> None:
    predictions, scores = with_scores([write(tmp_path / PREDICTIONS, [1, 0, 0, 0])])
    table = pq.read_table(scores)
    wrong = {"text": pa.array(["1.0"] * 3), "null": pa.array([1.0, None, 1.0], pa.float32())}
    size = {"no size": None, "a word as size": {SIZE: "many"}}
    if kind in wrong:
        table = table.set_column(2, "score", wrong[kind])
    pq.write_table(table.replace_schema_metadata(size.get(kind, table.schema.metadata)), scores)
    if kind == "predictions":
        scores.write_bytes(predictions.read_bytes())
    elif kind == "no parquet":
        scores.write_text("words")
    assert read_run(tmp_path)["r"].score.tolist() == [1.0, 0.0, 1.0]


def test_other_files_and_predictions_that_are_not_sound_have_no_file_of_scores(tmp_path: Path) -> None:
    other, broken = tmp_path / "log.txt", tmp_path / PREDICTIONS
    other.write_text("words")
    broken.write_text("no parquet")
    assert with_scores([other, broken]) == [other, broken]
    assert {path.name for path in tmp_path.iterdir()} == {"log.txt", PREDICTIONS}


@pytest.mark.parametrize("count", [0, 1, 7, 1_000])
def test_files_read_in_threads_come_in_their_order(count: int) -> None:
    assert in_threads(lambda number: number * number, range(count)) == [number**2 for number in range(count)]


@pytest.mark.parametrize("fast", [0, 100])
def test_files_that_take_long_are_read_at_the_same_time(fast: int) -> None:
    """Whether or not the first ones are fast: they may be cached, and the others on a server."""
    both = threading.Barrier(2)

    def read(number: int) -> int:
        if fast <= number < fast + LONGEST:  # at most so many are read before it is known that they take long
            time.sleep(0.002)
        elif number >= fast:
            both.wait(30)
        return number

    count = fast + LONGEST + 8
    assert in_threads(read, range(count)) == [*range(count)]


def test_files_that_are_read_fast_are_read_by_one_thread_at_a_time() -> None:
    lock, many = threading.Lock(), list[bool]()

    def read(number: int) -> int:
        many.append(not lock.acquire(blocking=False))
        if not many[-1]:
            lock.release()
        return number

    assert in_threads(read, range(3000)) == [*range(3000)]
    assert not any(many)


def test_the_error_of_a_file_is_raised_and_the_others_are_not_waited_for() -> None:
    may_end, ended = threading.Event(), list[int]()

    def read(number: int) -> float:
        if number == 0:
            may_end.wait(10)
            ended.append(number)
        return 1 / (number - 1)

    with pytest.raises(ZeroDivisionError):
        in_threads(read, [1, 0])
    assert ended == []
    may_end.set()


@pytest.mark.parametrize("kind", ["int8", "int64", "uint16", "float16", "float32", "float64"])
def test_columns_of_numbers_are_read_as_they_are(kind: str) -> None:
    values = np.arange(12).astype(kind)
    labels = labels_of(pa.chunked_array([pa.array(values[:5])[2:], pa.array(values[5:])]))
    assert labels.dtype == values.dtype
    assert labels.tolist() == values[2:].tolist()
    lists = pa.FixedSizeListArray.from_arrays(pa.array(values), 3)
    outputs = labels_of(pa.chunked_array([lists[1:3], lists[:1]]))
    assert outputs.dtype == values.dtype
    assert outputs.tolist() == [[3, 4, 5], [6, 7, 8], [0, 1, 2]]


def test_a_missing_number_is_nan_and_a_column_may_be_empty() -> None:
    assert np.isnan(labels_of(pa.chunked_array([pa.array([1, None])]))).tolist() == [False, True]
    assert labels_of(pa.chunked_array([pa.array([True, False])])).tolist() == [True, False]
    assert labels_of(pa.chunked_array([], pa.int64())).shape == (0,)
