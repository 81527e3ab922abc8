"""Reading a local record straight from its tables: what MLflow's own search gives, deleted runs and odd values too."""

import importlib.util
import sqlite3
from contextlib import closing
from math import inf, isnan
from pathlib import Path

import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.record import sqlite
from mcr_bench.bench.record.database.snapshot import read_database
from mcr_bench.bench.record.files.artifacts import PREDICTIONS
from mcr_bench.bench.record.runs import StoredRun, by_key
from mcr_bench.bench.record.sqlite import SqliteReader
from mcr_bench.bench.record.store import SearchReader
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.spec import RunSpec

SCRIPT = Path(__file__).parents[2] / "support/records/many_runs.py"
LOADER = importlib.util.spec_from_file_location("many_runs", SCRIPT)
assert LOADER is not None
assert LOADER.loader is not None
many_runs = importlib.util.module_from_spec(LOADER)
LOADER.loader.exec_module(many_runs)
record_run, specs = many_runs.record_run, many_runs.specs


@pytest.fixture(scope="module")
def wanted() -> list[RunSpec]:
    return list(specs(methods=4, datasets=2, seeds=2))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory, wanted: list[RunSpec]) -> Record:
    """Sixteen runs; one killed, one failed, one trained twice, one deleted; foreign ones; one deleted experiment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        made = Record(home=tmp_path_factory.mktemp("home"))
    folder = tmp_path_factory.mktemp("predictions")
    for spec in wanted[:13]:
        record_run(made, spec, folder)
    made.start(wanted[13])
    made.kill(wanted[13])
    made.start(wanted[14])
    made.fail(wanted[14], "ValueError: no")
    made.start(wanted[15])
    made.finish(wanted[15], {"test/accuracy": float("nan"), "up": float("inf"), "down": float("-inf"), "big": 1e300})
    made.start(wanted[0], again=True)
    made.finish(wanted[0], {"test/accuracy": 0.125})
    client = made.client
    client.delete_run(made.finished([wanted[1].key])[wanted[1].key].run_id)
    client.create_run(client.create_experiment("other/mcr-bench/x"), tags={"key": "foreign"})
    gone = client.create_experiment("mcr-bench/gone")
    client.create_run(gone, tags={"key": "gone"})
    client.delete_experiment(gone)
    client.create_run(client.create_experiment("mcr-bench/bare"), tags={"no": "key"})
    return made


def both(record: Record) -> tuple[SqliteReader, SearchReader]:
    return SqliteReader(record.home / "mlflow.db"), SearchReader(lambda: record.client)


def comparable(runs: list[StoredRun]) -> dict[str, str]:
    """nan is not equal to itself; its text is."""
    parts = [[sorted(part.items()) for part in (run.metrics, run.params, run.tags)] for run in runs]
    found = {
        run.run_id: repr([run.status, run.started, run.ended, run.artifacts, part])
        for run, part in zip(runs, parts, strict=True)
    }
    assert len(found) == len(runs)
    return found


@pytest.mark.parametrize("share", [0.0, 2.0], ids=["all tables", "run by run"])
@pytest.mark.parametrize("dataset", [None, "many-00", "many-01", "bare", "gone", "it's"])
def test_equal_to_the_search_of_mlflow(
    record: Record, dataset: str | None, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "FEW", share)
    direct, search = both(record)
    found = comparable(direct.read(dataset))
    assert found == comparable(search.read(dataset))
    assert len(found) == {None: 17, "many-00": 8, "many-01": 8, "bare": 1}.get(str(dataset) if dataset else None, 0)


@pytest.mark.parametrize("numbers", [[], [2], [1, 3, 14, 0]])
def test_keys_are_read_alone(record: Record, wanted: list[RunSpec], numbers: list[int]) -> None:
    keys = {wanted[number].key for number in numbers}
    direct, search = both(record)
    for reader in (direct, search):
        assert {run.tags["key"] for run in reader.read(None, keys)} == keys - {wanted[1].key}
        assert reader.read("bare", keys) == []
    assert comparable(direct.read(None, keys)) == comparable(search.read(None, keys))


def test_values_that_no_number_holds(record: Record, wanted: list[RunSpec]) -> None:
    metrics = record.finished([wanted[15].key])[wanted[15].key].metrics
    assert isnan(metrics["test/accuracy"])
    assert metrics["up"] == -metrics["down"] == metrics["big"] == inf  # MLflow keeps 1.8e308 of an infinity


def test_names_and_texts_of_any_type_are_read(record: Record, tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(record.home / "mlflow.db")) as source, closing(sqlite3.connect(file)) as copy:
        source.backup(copy)
        with copy:
            (run_id,) = copy.execute("SELECT run_uuid FROM tags WHERE key = 'no'").fetchone()
            odd = "INSERT INTO tags (run_uuid, key, value) VALUES (?, ?, ?)"
            copy.executemany(odd, [(run_id, b"bytes", "a"), (run_id, "of bytes", b"b"), (run_id, 'q"\n\x00', "\x01'{")])
    (run,) = SqliteReader(file).read("bare")
    expected = {"no": "key", "bytes": "a", "of bytes": "b", 'q"\n\x00': "\x01'{"}
    assert {name: run.tags.get(name) for name in expected} == expected


def test_rows_follow_deletion_and_training_again(record: Record, wanted: list[RunSpec]) -> None:
    rows = {row.key: row for row in record.rows()}
    assert set(rows) == {spec.key for spec in wanted} - {wanted[1].key}
    assert rows[wanted[0].key].value == 0.125
    assert (rows[wanted[13].key].status, rows[wanted[14].key].status) == ("killed", "failed")
    run_id = rows[wanted[2].key].run_id
    record.client.delete_run(run_id)
    assert wanted[2].key not in {row.key for row in record.rows()}
    assert record.finished([wanted[2].key]) == {}
    record.client.restore_run(run_id)
    assert record.finished([wanted[2].key])[wanted[2].key].run_id == run_id


def test_modalities_keep_the_order_in_which_they_were_logged(record: Record, wanted: list[RunSpec]) -> None:
    key = wanted[3].key
    assert list(record.finished([key])[key].unimodal) == ["audio", "video"]
    assert [list(row.unimodal) for row in record.rows() if row.key == key] == [["audio", "video"]]


def test_tables_that_cannot_be_read_are_left_to_mlflow(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("no such table: runs")

    expected = [row.run_id for row in record.rows()]
    monkeypatch.setattr(sqlite, "read_database", fail)
    assert [row.run_id for row in record.rows()] == expected
    assert len(record.samples(expected)) == 11  # of 13 one is deleted, one was trained again without predictions


def test_reading_writes_nothing(record: Record) -> None:
    def write(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM runs")

    with pytest.raises(sqlite3.OperationalError):
        read_database(record.home / "mlflow.db", write)


def test_the_newest_finished_run_counts() -> None:
    def run(run_id: str, status: str, started: int, **tags: str) -> StoredRun:
        return StoredRun(run_id, status, started, {}, {}, tags)

    runs = [run("a", "FINISHED", 1, key="k"), run("b", "FINISHED", 2, key="k"), run("c", "FAILED", 3, key="k")]
    runs += [run("d", "FAILED", 2, key="l"), run("e", "KILLED", 1, key="l"), run("f", "FINISHED", 9)]
    assert {group[0].tags["key"]: [one.run_id for one in group] for group in by_key(runs)} == {
        "k": ["b", "a"],
        "l": ["d", "e"],
    }


def test_a_record_in_a_folder_with_a_space_and_an_umlaut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (spec,) = specs(methods=1, datasets=1, seeds=1)
    record = Record(home=tmp_path / "a b ü")
    record_run(record, spec, tmp_path)
    monkeypatch.setattr(Record, "client", None)
    (row,) = record.rows()
    assert len(record.predictions(row.run_id)) == 400
    assert set(record.samples([row.run_id])) == {row.run_id}


def test_history_equals_that_of_mlflow_and_is_ordered_by_epoch(record: Record, wanted: list[RunSpec]) -> None:
    run_id = record.finished([wanted[0].key])[wanted[0].key].run_id
    direct, search = both(record)
    assert direct.history(run_id) == search.history(run_id) == record.history(run_id)
    earlier = record.finished([wanted[2].key])[wanted[2].key].run_id
    curves = record.history(earlier)
    assert curves == search.history(earlier)
    steps = [step for step, _ in curves["epoch"]]
    assert steps == sorted(steps)
    assert len(steps) > 1


def test_history_of_an_unknown_run_is_an_error(record: Record) -> None:
    with pytest.raises(UserError, match="nowhere"):
        record.history("nowhere")


def test_the_scores_of_a_finished_run_are_read_without_its_predictions(tmp_path: Path, wanted: list[RunSpec]) -> None:
    made = Record(home=tmp_path / "home")
    record_run(made, wanted[0], tmp_path)
    run_id = made.finished([wanted[0].key])[wanted[0].key].run_id
    (file,) = made.home.rglob(PREDICTIONS)
    file.write_bytes(bytes(file.stat().st_size))
    score = made.samples([run_id])[run_id].score
    assert score.mean() == pytest.approx(made.rows()[0].value)


def test_an_experiment_that_was_renamed_is_noted_once(record: Record, wanted: list[RunSpec]) -> None:
    """Its runs would otherwise look like runs that were never trained; what other programs have is not noted."""
    client, dataset = record.client, wanted[0].dataset
    experiment = client.get_experiment_by_name(f"mcr-bench/{dataset}")
    assert experiment is not None
    client.rename_experiment(experiment.experiment_id, "my favourite")
    try:
        notes = list[str]()
        read = Record(home=record.home, note=notes.append)
        assert dataset not in {row.dataset for row in read.rows()}
        read.rows()
        assert [note for note in notes if "favourite" in note or "other" in note] == [
            "the experiment 'my favourite' has runs of this program, which commands do not find under this name. "
            f"Rename it to 'mcr-bench/{dataset}' in MLflow's page (`mcr-bench ui`)."
        ]
        client.rename_experiment(experiment.experiment_id, "mcr-bench/another")
        assert SqliteReader(record.home / "mlflow.db").renamed() == {"mcr-bench/another": dataset}
    finally:
        client.rename_experiment(experiment.experiment_id, f"mcr-bench/{dataset}")
    assert SqliteReader(record.home / "mlflow.db").renamed() == {}


@pytest.mark.parametrize("name", ["o'brien", '"', "a\\", "100%", "'", "x' OR 'a", ".."])
def test_a_name_that_no_filter_can_quote_is_no_key(name: str, record: Record) -> None:
    assert SearchReader(lambda: record.client).read(None, [name]) == []


def test_an_edited_dataset_of_a_run_does_not_make_its_experiment_a_renamed_one(tmp_path: Path, record: Record) -> None:
    """One run with its own name is enough; following the note would hide all of them."""
    file = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(record.home / "mlflow.db")) as source, closing(sqlite3.connect(file)) as copy:
        source.backup(copy)
        runs = "SELECT run_uuid FROM tags WHERE key = 'dataset' ORDER BY run_uuid"
        for order in ("", " DESC"):
            edited = f"UPDATE tags SET value = ? WHERE key = 'dataset' AND run_uuid = ({runs}{order} LIMIT 1)"
            copy.execute(edited, ["another" if order else ""])
            copy.commit()
            assert SqliteReader(file).renamed() == {}
