"""The folder of a record is moved, renamed, copied or seen under another path, and single files of runs are missing."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from mcr_bench.bench.record.files.places import Places
from mcr_bench.bench.record.tracking import Record
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.records.homes import call, copy_of, predictions_of, row_of
from mcr_bench.tests.support.records.many_runs import record_run, specs
from mcr_bench.tests.support.records.recorded import empty_record
from mcr_bench.tests.support.servers.real import Server, free_port

FAULT = Fault(
    "The folder of a record is moved, renamed, copied or mounted elsewhere: a home, a server's folder, the source of a "
    "merge; or a file of a run is missing",
    "Every run and its files are read and written at the new place and nowhere else; a run whose file is missing is "
    "named, its metrics and all other runs are shown",
)
DONE = list(specs(methods=5, datasets=1, seeds=1))
NEW, FAILED = list(specs(methods=5, datasets=1, seeds=3))[5:7]
FILES = 2 * len(DONE) + 1  # predictions and scores, and what the failed run says
DEAR = pytest.mark.slow


def typical(every: Mapping[str, Callable[..., object]], *names: str) -> list[object]:
    """All of them as parameters; those but these ones are tried in slow tests."""
    return [pytest.param(one, id=name, marks=[] if name in names else DEAR) for name, one in every.items()]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with five runs finished and one failed; nothing is left where they were recorded."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        empty = Record(home=folder / "empty")
        fill(empty_record(empty, folder / "home"), folder)
    return (folder / "home").rename(folder / "gone")


def fill(record: Record, folder: Path) -> None:
    for spec in DONE:
        own = folder / spec.key  # on its way to a server, a file is not copied
        own.mkdir()
        record_run(record, spec, own)
    record.start(FAILED)
    record.fail(FAILED, "Traceback ...\nValueError: sizes")


@pytest.fixture
def home(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return copy_of(template, tmp_path / "home", monkeypatch)


def states(code: int = 0) -> dict[str, int]:
    """How many files are in which state, for the command line."""
    files = json.loads(call("results", "--verify", "--json", code=code).stdout)
    every = [one["state"] for one in files]
    return {state: every.count(state) for state in every}


def whole(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it is read at this place, a run is added, and that is read too."""
    monkeypatch.setenv("MCR_BENCH_HOME", str(home))
    assert states() == {"whole": FILES}
    made = home.resolve().parent / "made"
    made.mkdir(exist_ok=True)
    record_run(Record(home=home), NEW, made)
    assert states() == {"whole": FILES + 2}
    shutil.rmtree(made)


def across(home: Path, place: Path) -> Path:
    """To another file system, if there is one: every file is another one then, with its own times."""
    shutil.copytree(home, place, copy_function=shutil.copyfile)
    shutil.rmtree(home)
    return place


def swapped(home: Path, place: Path) -> Path:
    """Another record takes its old place."""
    home.rename(place)
    home.mkdir()
    (home / "artifacts").mkdir()
    (home / "mlflow.db").write_bytes(b"")
    return place


def linked(home: Path, place: Path) -> Path:
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(home)
    return place


def linked_from_the_old(home: Path, place: Path) -> Path:
    home.rename(place)
    home.symlink_to(place)
    return home


def twice(home: Path, place: Path) -> Path:
    Record(home=home.rename(home.parent / "between")).prepare()
    return (home.parent / "between").rename(place)


def without_write(home: Path, place: Path) -> Path:
    """Moved, and the addresses in its database are those of the old place for as long as it is only read."""
    assert Record(home=home.rename(place)).rows()
    return place


MOVES: dict[str, Callable[[Path, Path], Path]] = {
    "renamed": lambda home, place: home.rename(place),
    "copied, the original left": lambda home, place: Path(shutil.copytree(home, place)),
    "copied, the original deleted": across,
    "moved twice": twice,
    "moved and only read": without_write,
    "seen through a link": linked,
    "a link left at the old place": linked_from_the_old,
    "another record at the old place": swapped,
}


@pytest.mark.parametrize("name", ["moved", pytest.param("a b/c%20 #1?", marks=DEAR)])
@pytest.mark.parametrize("move", typical(MOVES, "renamed", "copied, the original left", "seen through a link"))
def test_a_home(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, move: Callable[[Path, Path], Path], name: str
) -> None:
    Record(home=home).prepare()  # so that the addresses in its database are those of this place
    (tmp_path / "new" / name).parent.mkdir(parents=True)
    place = move(home, tmp_path / "new" / name)
    seen = home.exists() and place.samefile(home)
    before = listed(home)
    whole(place, monkeypatch)
    assert seen or listed(home) == before
    assert not list((tmp_path / "work").iterdir())


def listed(folder: Path) -> set[Path]:
    """What lies in a folder, without what reading SQLite leaves."""
    return {path for path in folder.rglob("*") if path.name not in ("mlflow.db-wal", "mlflow.db-shm", "mlflow.db.lock")}


def test_a_home_that_moves_while_nobody_looks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five times, with a reader in between."""
    for number in range(5):
        home = home.rename(home.parent / f"place {number}")
        monkeypatch.setenv("MCR_BENCH_HOME", str(home))
        assert states() == {"whole": FILES}
    whole(home, monkeypatch)


AFTER: dict[str, Callable[[Path], object]] = {
    "deleted": shutil.rmtree,
    "moved": lambda source: source.rename(source.parent / "elsewhere"),
    "other files in their place": lambda source: [path.write_bytes(b"x") for path in source.rglob("*.parquet")],
    "without rights": lambda source: [path.chmod(0) for path in (source / "artifacts", source)],
}


@pytest.mark.parametrize("after", typical(AFTER, "deleted"))
@pytest.mark.parametrize("way", ["merge", pytest.param("import", marks=DEAR)])
def test_the_source_of_a_merge(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: Callable[[Path], object],
    way: str,
) -> None:
    """What was joined does not need it any more, also where the record itself is moved then."""
    joined(home, tmp_path / "here", way, monkeypatch)
    after(home)
    monkeypatch.setenv("MCR_BENCH_HOME", str((tmp_path / "here").rename(tmp_path / "moved")))
    assert states() == {"whole": 2 * len(DONE)}
    assert sum(len(Record().predictions(row.run_id)) == 400 for row in Record().rows()) == len(DONE)
    if home.exists():
        home.chmod(0o755)


def joined(home: Path, here: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = str(here.parent / "runs.zip")
    if way == "import":
        call("export", archive)
    monkeypatch.setenv("MCR_BENCH_HOME", str(here))
    done = call("merge", str(home)) if way == "merge" else call("import", archive)
    assert f"{len(DONE)} runs added" in done.stdout


@pytest.mark.parametrize("which", [*(pytest.param(one, marks=DEAR) for one in ("source", "record")), "both"])
def test_a_merge_after_a_move(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    """Once more, after one of the two was moved: every run is here already, and all that it needs too."""
    here = tmp_path / "here"
    joined(home, here, "merge", monkeypatch)
    home = home.rename(tmp_path / "source") if which != "record" else home
    here = here.rename(tmp_path / "record") if which != "source" else here
    monkeypatch.setenv("MCR_BENCH_HOME", str(here))
    assert f"0 runs added, {len(DONE)} finished here already" in call("merge", str(home)).stdout
    assert states() == {"whole": 2 * len(DONE)}


def folder_at(file: Path) -> None:
    file.unlink()
    file.mkdir()


def link_at(file: Path, target: str) -> None:
    file.unlink()
    file.symlink_to(target)


LOSSES: dict[str, Callable[[Path], object]] = {
    "its file": Path.unlink,
    "its folder": lambda file: shutil.rmtree(file.parents[1]),
    "a folder in its place": folder_at,
    "a link to nowhere": lambda file: link_at(file, "nowhere"),
    "a link into the old place": lambda file: link_at(file, "/old/home/predictions.parquet"),
}


def named(text: str, home: Path) -> bool:
    """Whether a run with lost predictions is named, with the file and the remedy."""
    row = row_of(home)
    return all(part in text for part in (row.name, row.run_id, "predictions.parquet", "--force"))


@pytest.mark.parametrize("moved", ["moved", pytest.param("at its place", marks=DEAR)])
@pytest.mark.parametrize("loss", typical(LOSSES, "its file", "a folder in its place"))
def test_a_run_without_its_predictions(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: Callable[[Path], object], moved: str
) -> None:
    """It is named, its value stays in the tables, and all others are compared."""
    Record(home=home).prepare()
    file = predictions_of(home, row_of(home))
    loss(file)
    lost = 1 if file.parent.exists() else 2
    if moved == "moved":
        home = home.rename(tmp_path / "moved")
        monkeypatch.setenv("MCR_BENCH_HOME", str(home))
    assert states(1)["whole"] == FILES - lost
    (line, *_, remedy) = call("results", "--verify", code=1).stdout.splitlines()
    assert named(line + remedy, home)
    assert [line for line in call("results").stdout.splitlines() if "joint" in line]
    record = Record(home=home)
    assert set(record.samples([row.run_id for row in record.rows()])) == {
        row.run_id for row in record.rows() if row.finished and row.run_id != row_of(home).run_id
    }
    done = call("compare", "--baseline", "joint")
    assert named(done.stderr, home)
    assert "multi-loss" in done.stdout
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path / "other"))
    told = call("merge", str(home)).stderr
    assert f"({row_of(home).key}): its predictions.parquet is missing" in told
    assert states(1) == {"whole": 2 * len(DONE) - lost, "missing": lost}
    assert row_of(tmp_path / "other").value == row_of(home).value
    assert "its predictions.parquet is missing" in call("export", "runs.zip").stderr


def test_a_failed_run_without_its_traceback(home: Path) -> None:
    """The file `failure.txt`: the reason is in the record."""
    (file,) = home.glob("artifacts/*/*/artifacts/failure.txt")
    file.unlink()
    told = call("results", "--verify", code=1).stdout
    assert "missing: failure.txt" in told
    assert "ValueError: sizes" in call("results", "--json").stdout
    assert states(1) == {"whole": FILES - 1, "missing": 1}


def test_all_files_are_missing(home: Path) -> None:
    """The tables are as they were, and one note says that there are more than it names."""
    before = call("results").stdout
    shutil.rmtree(home / "artifacts")
    assert states(1) == {"missing": FILES}
    assert call("results").stdout == before
    for verb in (("compare", "--baseline", "joint"), ("tables", "--baseline", "joint")):
        assert call(*verb).stderr.count("left out: ") <= 6


def test_a_copy_without_its_files_is_told_from_a_whole_one(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read where the first home has them, and --verify says that the copy would lose them with it."""
    Record(home=home).prepare()
    copy = Path(shutil.copytree(home, tmp_path / "copy"))
    shutil.rmtree(copy / "artifacts")
    monkeypatch.setenv("MCR_BENCH_HOME", str(copy))
    assert states(1) == {"outside": FILES}
    told = call("results", "--verify", code=1).stdout
    assert f"outside: predictions.parquet of {row_of(copy).name}" in told
    assert f"it is in {home / 'artifacts'}" in told
    assert "Copy the folder artifacts of that home into this one" in told
    shutil.copytree(home / "artifacts", copy / "artifacts")
    assert states() == {"whole": FILES}


@pytest.mark.parametrize("folder", ["cache", *(pytest.param(one, marks=DEAR) for one in ("work", "weights", "tables"))])
def test_a_folder_beside_the_record_is_missing(home: Path, folder: str) -> None:
    """What is made of the record, and what only a training needs."""
    (home / folder).mkdir(exist_ok=True)
    call("compare", "--baseline", "joint")
    shutil.rmtree(home / folder)
    call("compare", "--baseline", "joint")
    assert states() == {"whole": FILES}


@contextmanager
def serving(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A tracking server on a folder, and its address for the commands of this process."""
    server = Server(folder).start().wait()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a server with the runs; nobody serves it now."""
    folder = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch, serving(folder / "server", patch) as server:
        record = Record(server.uri, folder / "home")
        fill(record, folder)
        assert record.settle() == {}
    return (folder / "server").rename(folder / "moved")


@DEAR
@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("loss", ["nothing", "its file", "its folder", "a folder in its place", "everything"])
def test_a_server_whose_folder_was_moved(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    """Clients read and write through it as before; of a file that is missing there the run is named."""
    folder = Path(shutil.copytree(served, tmp_path / "new" / "server"))
    with serving(folder, monkeypatch) as server:
        record = Record(server.uri, tmp_path / "client")
        (row,) = (row for row in record.rows() if row.method == "joint")
        (file,) = folder.glob(f"artifacts/*/{row.run_id}/artifacts/predictions.parquet")
        if loss == "everything":
            shutil.rmtree(folder / "artifacts")
        elif loss != "nothing":
            file.with_name("scores.parquet").unlink()  # which would be read in their place
            LOSSES[loss](file)
        monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path / "client"))
        lost = {"nothing": 0, "everything": FILES}.get(loss, 2)
        counted = states(int(lost > 0))
        assert counted.get("whole", 0) == FILES - lost
        done = call("compare", "--baseline", "joint")
        assert (row.run_id in done.stderr) == (lost > 0)
        assert "multi-loss" in done.stdout
        record_run(record, NEW, tmp_path)
        assert record.settle() == {}
        assert len(record.predictions(next(row.run_id for row in record.rows() if row.key == NEW.key))) == 400


@DEAR
def test_the_server_of_this_program_in_a_home_that_was_moved(home: Path, tmp_path: Path) -> None:
    port, keys = free_port(), list[str]()
    for spec in (DONE[0], DONE[1]):
        command = [sys.executable, "-m", "mcr_bench.cli", "server", "--port", str(port)]
        env = os.environ | {"MCR_BENCH_HOME": str(home), "MLFLOW_TRACKING_URI": ""}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
            assert process.stdout is not None
            process.stdout.readline()
            record = Record(f"http://127.0.0.1:{port}", tmp_path / "client")
            record_run(record, spec, tmp_path)
            assert record.settle() == {}
            keys.append(spec.key)
            assert [len(record.predictions(row.run_id)) for row in record.rows()] == [400] * len(keys)
            process.terminate()
            process.wait(60)
        home = home.rename(tmp_path / f"moved {len(keys)}")


@pytest.mark.unprotected
def test_addresses_as_they_are_stored(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the addresses that MLflow stores, no file of a moved record can be read, and new ones go to the old place"""
    Record(home=home).prepare()
    monkeypatch.setattr(Places, "here", lambda *_: None)
    moved = home.rename(tmp_path / "moved")
    monkeypatch.setenv("MCR_BENCH_HOME", str(moved))
    assert states(1) == {"missing": FILES}
    (tmp_path / "made").mkdir()
    record_run(Record(home=moved), NEW, tmp_path / "made")
    assert list(home.rglob("predictions.parquet"))
