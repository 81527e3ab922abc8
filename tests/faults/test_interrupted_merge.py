"""A merge or an import is interrupted, or an archive is damaged or forged."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

from mcr_bench.bench.exchange import opened
from mcr_bench.bench.exchange.target import Target
from mcr_bench.bench.exchange.whole import MOVED_FROM
from mcr_bench.bench.record.tracking import Record
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.records.homes import call
from mcr_bench.tests.support.records.moving import RUNS, content, keys_in, make_homes, rewrite, sealed

FAULT = Fault(
    "A merge or an import is interrupted at any moment, or its archive is cut, damaged or forged",
    "A run comes in whole or not at all, and the same command goes on with what is left; an archive of which anything "
    "is wrong is refused before the first run is taken from it, with the reason",
)
Entries = dict[str, bytes]


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two homes with runs, an empty one, and the archive of the first."""
    folder = make_homes(tmp_path_factory.mktemp("homes"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MCR_BENCH_HOME", str(folder / "one"))
        call("export", str(folder / "one.zip"))
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home for the commands of this trial."""
    shutil.copytree(made / "empty", tmp_path / "here")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path / "here"))
    return tmp_path / "here"


@pytest.fixture
def archive(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made / "one.zip", tmp_path / "runs.zip"))


def kill_at(monkeypatch: pytest.MonkeyPatch, moment: int, after: bool) -> None:
    """End the command at its call number `moment` to the record, before or after that call has had its effect."""
    calls, call_of = [0], Target._call

    def counted(self: Target, function: Callable[..., object], *args: object, **kwargs: object) -> object:
        calls[0] += 1
        if calls[0] == moment and not after:
            raise Killed
        answer = call_of(self, function, *args, **kwargs)
        if calls[0] == moment:
            raise Killed
        return answer

    monkeypatch.setattr(Target, "_call", counted)


def require_whole(here: Path, other: Path) -> int:
    """Every run that is seen equals that of the other home, and nothing is left out; how many they are."""
    mine, theirs = content(here), content(other)
    assert mine.items() <= theirs.items()
    assert "left out" not in call("results").stderr
    return len(mine)


def moments() -> Iterator[object]:
    """Of a merge and of an import, before and after each kind of write; few of them where time is short."""
    few = {("merge", 7, False), ("merge", 5, True), ("import", 6, False), ("import", 13, True)}
    for one in product(("merge", "import"), (1, 2, 3, 4, 5, 6, 7, 8, 13, 18, 24, 25), (False, True)):
        yield pytest.param(*one, marks=[] if one in few else pytest.mark.slow)


@pytest.mark.parametrize(("verb", "moment", "after"), moments())
def test_a_killed_command_is_continued(
    made: Path, here: Path, monkeypatch: pytest.MonkeyPatch, verb: str, moment: int, after: bool
) -> None:
    """Ended at one of its writes, it leaves whole runs alone, and the same command adds the rest."""
    command = [verb, str(made / ("one" if verb == "merge" else "one.zip"))]
    with monkeypatch.context() as patch:
        kill_at(patch, moment, after)
        with pytest.raises(Killed):
            call(*command)
    before = require_whole(here, made / "one")
    assert before < RUNS or (moment, after) == (25, True)
    assert f"{RUNS - before} run" in call(*command).stdout
    assert require_whole(here, made / "one") == RUNS
    assert {run.tags["key"] for run in Target(Record(home=here)).runs()} == set(content(here))
    assert len(list(here.glob("artifacts/*/*"))) == RUNS


@pytest.mark.slow
@pytest.mark.parametrize("moment", [3, 5, 9])
def test_a_process_killed_by_the_kernel_is_continued(made: Path, here: Path, moment: int) -> None:
    """The same with a process of its own and SIGKILL."""
    code = (
        "import os, signal; from mcr_bench.cli import main; from mcr_bench.bench.exchange.target import Target\n"
        "calls, call_of = [], Target._call\n"
        "def counted(self, *args, **kwargs):\n"
        f"    calls.append(1); len(calls) < {moment} or os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return call_of(self, *args, **kwargs)\n"
        "Target._call = counted; main()"
    )
    done = subprocess.run([sys.executable, "-c", code, "merge", str(made / "one")], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    require_whole(here, made / "one")
    call("merge", str(made / "one"))
    assert require_whole(here, made / "one") == RUNS


def test_ctrl_c_is_answered_and_the_same_command_continues(
    made: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends the command with 130, and what was added is kept."""
    with monkeypatch.context() as patch:
        add = Target.add
        patch.setattr(Target, "add", lambda *args: (add(*args), os.kill(os.getpid(), signal.SIGINT)))
        assert "the same command continues" in call("merge", str(made / "one"), code=130).stderr
    assert require_whole(here, made / "one") == 1
    assert "3 runs added" in call("merge", str(made / "one")).stdout


def refused(archive: Path, here: Path, reason: str) -> None:
    """The import ends with this reason, and nothing of the archive is here."""
    before = sorted(path for path in here.rglob("*"))
    told = call("import", str(archive), code=2).stderr
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    assert reason in told
    assert content(here) == {}
    assert [path for path in here.rglob("*") if not path.name.startswith("mlflow.db")] == [
        path for path in before if not path.name.startswith("mlflow.db")
    ]
    assert {path.name for path in here.parent.iterdir()} <= {"here", archive.name}


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99, 0.9999])
def test_a_cut_archive_is_refused(archive: Path, here: Path, share: float) -> None:
    """An archive of which the end is missing."""
    archive.write_bytes(archive.read_bytes()[: int(share * archive.stat().st_size)])
    refused(archive, here, "is not a complete archive of runs")


@pytest.mark.parametrize("place", [0.02, 0.1, 0.25, 0.4, 0.6, 0.8, 0.9])
def test_a_flipped_bit_is_noticed(archive: Path, here: Path, place: float) -> None:
    """One bit of an archive flips, in a text, a file of a run or the list of entries."""
    damaged = bytearray(archive.read_bytes())
    damaged[int(place * len(damaged))] ^= 4
    archive.write_bytes(damaged)
    refused(archive, here, "runs.zip'")


def first(entries: Entries) -> str:
    return keys_in(entries)[0]


def forge(**fields: object) -> Callable[[Entries], None]:
    """Fields of a run's text, with sizes and checksums that fit."""

    def change(entries: Entries) -> None:
        sealed(entries, first(entries), lambda run: run.update(fields))

    return change


def tag(name: str, value: object) -> Callable[[Entries], None]:
    def change(entries: Entries) -> None:
        sealed(entries, first(entries), lambda run: run["tags"].update({name: value}))  # type: ignore[attr-defined]

    return change


def manifest(**fields: object) -> Callable[[Entries], None]:
    def change(entries: Entries) -> None:
        entries["manifest.json"] = json.dumps(json.loads(entries["manifest.json"]) | fields).encode()

    return change


def other_predictions(entries: Entries) -> None:
    name = f"runs/{first(entries)}/files/predictions.parquet"
    entries[name] = entries[name][:-1] + b"?"


def key_twice(entries: Entries) -> None:
    runs = json.loads(entries["manifest.json"])["runs"]
    manifest(runs=[*runs, runs[0]])(entries)


def lone_surrogate(entries: Entries) -> None:
    tag("label", "\ud800")(entries)


def file_named(name: str) -> Callable[[Entries], None]:
    """A run whose file has this name, in the text and as an entry."""

    def change(entries: Entries) -> None:
        key = first(entries)
        entries[f"runs/{key}/files/{name}"] = entries.pop(f"runs/{key}/files/predictions.parquet")
        sealed(entries, key, lambda run: run["files"][0].update(name=name))  # type: ignore[index]

    return change


FORGED: dict[str, tuple[Callable[[Entries], object], str]] = {
    "no manifest": (lambda entries: entries.pop("manifest.json"), "has no manifest.json"),
    "manifest is no JSON": (lambda entries: entries.update({"manifest.json": b"{"}), "is not JSON"),
    "manifest nested deeply": (lambda entries: entries.update({"manifest.json": b"[" * 100_000}), "is not JSON"),
    "another format": (manifest(format="other"), "does not say that it holds runs"),
    "newer schema": (manifest(schema=2), "a newer version has written it (schema 2; this one reads 1)"),
    "schema is no number": (manifest(schema="1"), "its schema is not a whole number"),
    "list of runs is none": (manifest(runs={}), "has no list"),
    "a run without checksum": (manifest(runs=[{"key": "abcdef"}]), "without key, size and sha256"),
    "a key that is a path": (manifest(runs=[{"key": "../x", "size": 1, "sha256": "0" * 64}]), "without key"),
    "a key twice": (key_twice, "a key is listed twice"),
    "an entry that no run names": (
        lambda e: e.update({f"runs/{first(e)}/files/x": b""}),
        "which none of its runs names",
    ),
    "an entry with another name": (
        lambda entries: entries.update({"setup.py": b""}),
        "is not a name of such an archive",
    ),
    "an entry above the folder": (lambda entries: entries.update({"runs/../../x": b""}), "is not a name of such"),
    "an absolute entry": (lambda entries: entries.update({"/tmp/x": b""}), "is not a name of such"),
    "a missing file": (lambda e: e.pop(f"runs/{first(e)}/files/predictions.parquet"), "is missing in it"),
    "a missing run": (lambda e: e.pop(f"runs/{first(e)}/run.json"), "is missing in it"),
    "other predictions": (other_predictions, "does not have the SHA-256"),
    "a file above the folder": (file_named("../../../../x"), "is not allowed as the name of a file"),
    "an absolute file": (file_named("/x"), "is not allowed as the name of a file"),
    "a hidden file": (file_named(".x.partial"), "is not allowed as the name of a file"),
    "a file of a drive": (file_named("c:x"), "is not allowed as the name of a file"),
    "another run's text": (forge(key="0" * 20), "its tag 'key' is"),
    "a dataset that is a path": (tag("dataset", ".."), "cannot be the name of a dataset"),
    "a seed that is no number": (tag("seed", "one"), "its tag 'seed' is 'one'"),
    "a tag that is no text": (tag("label", 3), "is not a text"),
    "a tag that is endless": (tag("label", "x" * 10_000), "is not a text of at most 8000 characters"),
    "a tag of MLflow": (tag("mlflow.user", "root"), "only MLflow or this program sets"),
    "a tag of this program": (tag(MOVED_FROM, "x"), "only MLflow or this program sets"),
    "a tag with half a character": (lone_surrogate, "is not a text"),
    "a tag with another checksum": (tag("sha256/predictions.parquet", "0" * 64), "is not the one in its tags"),
    "a setting with a bad name": (forge(params={"a\nb": "1"}), "cannot be a name"),
    "curves that are none": (forge(metrics=[]), "is not an object"),
    "a metric without values": (forge(metrics={"test/accuracy": []}), "is not a list of values"),
    "a value that is a text": (forge(metrics={"test/accuracy": [[1, "0.5", 1]]}), "is not a number"),
    "a value that is endless": (forge(metrics={"test/accuracy": [[1, 10**400, 1]]}), "is not a number"),
    "a step that is not whole": (forge(metrics={"test/accuracy": [[0.5, 0.5, 1]]}), "is not a whole number"),
    "a time before 1970": (forge(started=-1), "its 'started' is not a whole number"),
    "no files": (forge(files=None), "its 'files' is not a list"),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_archive_is_refused(archive: Path, here: Path, what: str) -> None:
    """Somebody has written other things into an archive."""
    change, reason = FORGED[what]
    refused(rewrite(archive, change), here, reason)


def add(archive: Path, info: zipfile.ZipInfo, text: bytes) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(archive, "a") as file:
        warnings.simplefilter("ignore")  # Python's own, that a name is given twice
        file.writestr(info, text)


def test_a_link_is_refused(archive: Path, here: Path) -> None:
    """An entry that is a symbolic link."""
    with zipfile.ZipFile(archive) as file:
        info = zipfile.ZipInfo(f"runs/{json.loads(file.read('manifest.json'))['runs'][0]['key']}/files/link")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    add(archive, info, b"/etc/passwd")
    refused(archive, here, "links and the like are not allowed")


def test_an_entry_twice_is_refused(archive: Path, here: Path) -> None:
    """Two entries of one name, of which readers take different ones."""
    add(archive, zipfile.ZipInfo("manifest.json"), b"{}")
    refused(archive, here, "it holds 'manifest.json' twice")


def test_a_bomb_is_refused_before_it_is_unpacked(archive: Path, here: Path) -> None:
    """An entry of kilobytes that unpacks to hundreds of megabytes."""
    info = zipfile.ZipInfo("runs/abcdef/files/x")
    info.compress_type = zipfile.ZIP_DEFLATED
    add(archive, info, b"\0" * 100_000_000)
    assert archive.stat().st_size < 1_000_000
    refused(archive, here, "unpacks to 0.1 GiB, 200 times its size")


def test_a_size_that_lies_is_noticed(archive: Path, here: Path) -> None:
    """The list of entries says another size than the entry has."""
    content = archive.read_bytes()
    place = content.rindex(b"PK\x01\x02")  # the last entry of the list: the manifest; its size is 24 bytes behind
    archive.write_bytes(content[: place + 24] + (100).to_bytes(4, "little") + content[place + 28 :])
    refused(archive, here, "runs.zip'")


def test_more_than_is_allowed_is_said_before_it_is_read(archive: Path, here: Path) -> None:
    """All entries together unpack to more than --most-gib."""
    told = call("import", str(archive), "--most-gib", "0", code=2).stderr
    assert "GiB, and 0 are allowed (--most-gib)" in told
    assert content(here) == {}


@pytest.mark.parametrize("kind", ["folder", "missing", "empty", "text"])
def test_what_is_no_archive_is_refused(tmp_path: Path, here: Path, kind: str) -> None:
    """A folder, nothing, an empty file, a text."""
    place = tmp_path / "x.zip"
    if kind == "folder":
        place.mkdir()
    elif kind != "missing":
        place.write_text("" if kind == "empty" else "not a zip file")
    told = call("import", str(place), code=2).stderr
    assert told.count("\n") == 1
    assert content(here) == {}


@pytest.mark.unprotected
def test_a_run_that_is_seen_too_early(made: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its tags given first, a killed merge leaves a run without results, which the next `run` trains into"""
    create = Target._create

    def with_tags(self: Target, run: object) -> str:
        run_id = create(self, run)  # type: ignore[arg-type]
        for name, text in run.tags.items():  # type: ignore[attr-defined]
            self._record.client.set_tag(run_id, name, text)
        return run_id

    monkeypatch.setattr(Target, "_create", with_tags)
    with monkeypatch.context() as patch:
        kill_at(patch, 4, after=True)
        with pytest.raises(Killed):
            call("merge", str(made / "one"))
    (row,) = Record(home=here).rows()
    assert (row.status, row.value) == ("running", None)
    assert row.key in content(made / "one")


@pytest.mark.unprotected
def test_predictions_that_nobody_compares(
    made: Path, archive: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without checksums in the archive, a run comes in with predictions that it has not made"""

    class Fits(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            return True

        def __ne__(self, other: object) -> bool:
            return False

    monkeypatch.setattr(opened, "checksum", lambda _: Fits())
    call("import", str(rewrite(archive, other_predictions)))
    theirs, mine = content(made / "one"), content(here)
    assert [key for key in mine if mine[key] != theirs[key]] == [min(mine)]
