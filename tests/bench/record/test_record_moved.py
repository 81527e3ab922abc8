"""A record that was moved or copied: all is in its new home, nothing goes to the old one."""

import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.record.files.places import local_path
from mcr_bench.bench.record.store import database_file, database_uri
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.tests.support.records import many_runs

DONE, FAILED, KILLED, NEW = list(many_runs.specs(methods=4, datasets=1, seeds=1))
(OTHER,) = list(many_runs.specs(methods=1, datasets=2, seeds=1))[1:]
ODD = ["a b", "ü 名", "50%", "a%20b", "x#y", "q?r=1&s", "it's [new]", "artifacts"]


@pytest.fixture(scope="module", autouse=True)
def _no_server() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one run finished, one failed and one killed; what tests see is a copy of it."""
    folder = tmp_path_factory.mktemp("made")
    record = Record(home=folder / "home")
    many_runs.record_run(record, DONE, folder)
    record.start(FAILED)
    record.fail(FAILED, "ValueError: at first")
    record.start(KILLED)
    record.kill(KILLED)
    (folder / "home").rename(folder / "gone")  # every test's home is a moved one, as its addresses lead to `home`
    return folder / "gone"


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "parent" / "home"))


def move(home: Path, place: Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    return home.rename(place)


def run_id_of(record: Record, spec: RunSpec) -> str:
    return str(next(row.run_id for row in record.rows() if row.key == spec.key))


def readable(record: Record) -> bool:
    """Whether the finished run's predictions and scores are, by every way to read them."""
    run_id = run_id_of(record, DONE)
    seen_by_mlflow = local_path(record.client.get_run(run_id).info.artifact_uri)  # the web interface shows these
    assert seen_by_mlflow is not None
    ours = set(record.samples([run_id])) == {run_id} and len(record.predictions(run_id)) == 400
    return ours and (seen_by_mlflow / "predictions.parquet").is_file()


def go_on(record: Record, folder: Path) -> None:
    """All that writes: a further run, one of a further dataset, the failed run again, the killed run to its end."""
    folder.mkdir(exist_ok=True)
    for spec in (NEW, OTHER, KILLED):
        many_runs.record_run(record, spec, folder)
    record.start(FAILED)
    record.fail(FAILED, "ValueError: again")


def addresses(home: Path) -> list[str]:
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        found = [*connection.execute("SELECT artifact_location FROM experiments")]
        return [address for (address,) in [*found, *connection.execute("SELECT artifact_uri FROM runs")]]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ODD)
def test_a_moved_record_is_whole(home: Path, tmp_path: Path, name: str) -> None:
    moved = Record(home=move(home, tmp_path / name / "results"))
    assert readable(moved)
    go_on(moved, tmp_path / "made")
    assert not home.exists()
    inside = list(moved.home.glob("artifacts/*/*/artifacts/predictions.parquet"))
    assert len(inside) == 4
    assert "again" in next(moved.home.rglob("failure.txt")).read_text()
    root = (tmp_path / name / "results" / "artifacts").as_uri()
    assert all(address.startswith(root) for address in addresses(moved.home))


def test_renaming_a_folder_above_moves_it_too(home: Path, tmp_path: Path) -> None:
    assert readable(Record(home=home))
    home.parent.rename(tmp_path / "renamed")
    again = Record(home=tmp_path / "renamed" / "home")
    assert readable(again)
    go_on(again, tmp_path / "made")
    assert not home.parent.exists()


def test_a_copy_leaves_the_original_alone(home: Path, tmp_path: Path) -> None:
    original = Record(home=home)
    assert readable(original)
    copy = Path(shutil.copytree(home, tmp_path / "copy"))
    for path in home.rglob("predictions.parquet"):
        path.write_bytes(b"not what the copy may read")
    before = files(home / "artifacts")
    copied = Record(home=copy)
    assert readable(copied)
    go_on(copied, tmp_path / "made")
    assert files(home / "artifacts") == before
    assert len(original.rows()) == 3
    assert not any(str(home) in address for address in addresses(copy))


def test_both_live_on(home: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(home, tmp_path / "copy"))
    go_on(Record(home=copy), tmp_path / "made")
    original = Record(home=home)
    assert readable(original)
    assert len(original.rows()) == 3
    go_on(original, tmp_path / "made")
    assert all(address.startswith(home.as_uri()) for address in addresses(home))


def test_what_only_the_old_place_has_is_still_read_but_never_written_there(home: Path, tmp_path: Path) -> None:
    original = Record(home=home)
    original.prepare()
    run_id = run_id_of(original, DONE)
    copy = Path(shutil.copytree(home, tmp_path / "copy", ignore=shutil.ignore_patterns("artifacts")))
    partial = Record(home=copy)
    assert readable(partial)
    before = files(home / "artifacts")
    go_on(partial, tmp_path / "made")
    assert files(home / "artifacts") == before
    assert f"{copy.as_uri()}/artifacts" in next(a for a in addresses(copy) if run_id_of(partial, FAILED) in a)
    assert home.as_uri() in next(a for a in addresses(copy) if run_id in a)


def test_links_and_relative_paths_are_the_same_home(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Record(home=home).prepare()
    before = addresses(home)
    (tmp_path / "link").symlink_to(home.parent)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MCR_BENCH_HOME", "link/../link/home")
    for record in (Record(), Record(home=tmp_path / "link" / "home"), Record("sqlite:///link/home/mlflow.db")):
        assert readable(record)
        assert addresses(home) == before


def test_a_link_left_at_the_old_place_does_no_harm(home: Path, tmp_path: Path) -> None:
    Record(home=home).prepare()
    moved = move(home, tmp_path / "new")
    home.symlink_to(moved)
    assert readable(Record(home=moved))
    assert all(address.startswith(moved.as_uri()) for address in addresses(moved))


def test_what_another_view_of_the_folder_writes_does_not_lead_a_run_astray(home: Path, tmp_path: Path) -> None:
    record = Record(home=home)
    record.start(NEW)
    elsewhere = tmp_path / "host" / "home"  # the path of the same folder outside a container, say
    with closing(sqlite3.connect(home / "mlflow.db")) as connection, connection:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            new, old = elsewhere.as_uri(), home.as_uri()
            connection.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", [old, new])
    path = tmp_path / "predictions.parquet"
    record.finish(NEW, many_runs.write_predictions(path, NEW), [path])
    assert not elsewhere.exists()
    wanted = {run_id_of(record, DONE), run_id_of(record, NEW)}
    assert set(record.samples(wanted)) == wanted


def test_many_commands_may_open_a_moved_record_at_once(home: Path, tmp_path: Path) -> None:
    moved = move(home, tmp_path / "moved")
    with ThreadPoolExecutor(6) as pool:
        records = list(pool.map(lambda _: Record(home=moved), range(6)))
    assert all(readable(record) for record in records[:2])
    assert all(address.startswith(moved.as_uri()) for address in addresses(moved))


def test_a_database_kept_apart_keeps_its_artifacts(tmp_path: Path) -> None:
    uri, first, second = database_uri(tmp_path / "db" / "x.db"), tmp_path / "first", tmp_path / "second"
    many_runs.record_run(Record(uri, first), DONE, tmp_path)
    apart = Record(uri, second)
    assert readable(apart)
    many_runs.record_run(apart, NEW, tmp_path)
    assert len(list(first.glob("artifacts/*/*/artifacts/*"))) == 4
    shutil.copytree(first, second, dirs_exist_ok=True)
    shutil.rmtree(first)
    moved = Record(uri, second)
    assert readable(moved)
    many_runs.record_run(moved, KILLED, tmp_path)
    assert not first.exists()


def test_a_whole_record_opened_by_its_address_is_found_beside_its_database(home: Path, tmp_path: Path) -> None:
    moved = move(home, tmp_path / "moved")
    record = Record(database_uri(moved / "mlflow.db"), tmp_path / "elsewhere")
    assert readable(record)
    go_on(record, tmp_path / "made")
    assert not home.exists()
    assert not list((tmp_path / "elsewhere").rglob(f"*{run_id_of(record, DONE)}*"))


def test_artifacts_in_a_bucket_or_of_others_stay_where_they_are(home: Path, tmp_path: Path) -> None:
    kept = ["s3://bucket/artifacts/many-00", "file:///data/mine/many-00", "mlflow-artifacts:/7", "/data/runs/x"]
    with closing(sqlite3.connect(home / "mlflow.db")) as connection, connection:
        for i, address in enumerate(kept):
            row = [100 + i, f"mine-{i}", address, "active"]
            connection.execute(
                "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage) VALUES (?, ?, ?, ?)",
                row,
            )
    moved = Record(home=move(home, tmp_path / "moved"))
    assert set(kept) <= set(addresses(moved.home))


@pytest.mark.parametrize("name", ["plain.db", "a%20b.db", "50%.db", "q?r.db", "ü #1.db"])
def test_a_database_is_where_its_address_says(name: str) -> None:
    assert database_file(database_uri(Path("/some/where") / name)) == Path("/some/where") / name


def test_an_address_may_carry_options_and_need_not_be_a_file() -> None:
    assert database_file("sqlite:///some/x.db?timeout=30") == Path("some/x.db")
    assert database_file("postgresql://host/x") is None


def test_a_command_whose_record_moves_away_says_so_and_leaves_nothing_behind(home: Path, tmp_path: Path) -> None:
    record = Record(home=home)
    record.start(NEW)
    move(home, tmp_path / "new")
    for write in (lambda: record.start(OTHER), lambda: record.finish(NEW, {"test/accuracy": 0.5})):
        with pytest.raises(UserError, match="moved or deleted while this command wrote"):
            write()
    assert not home.exists()
    assert Record(home=tmp_path / "new").start(NEW) is not None, "the run goes on at the new place"
