"""Names of folders and files that addresses, shells, databases or file systems read in ways of their own."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mcr_bench.bench.api.running import run as run_from_python
from mcr_bench.bench.core.home import LONGEST_DATABASE
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.record import store, tracking
from mcr_bench.bench.record.store import database_uri
from mcr_bench.bench.record.tracking import Record
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.media.array_files import write_digits
from mcr_bench.tests.support.records import many_runs
from mcr_bench.tests.support.records.homes import COMPARE, call, copy_of
from mcr_bench.tests.support.records.recorded import save
from mcr_bench.tests.support.servers.real import free_port

FAULT = Fault(
    "%20, ?, #, quotes, line breaks, 3,000 characters or bytes that are not UTF-8 in a home, a data path or an output",
    "It works, and nothing is made outside of it; or is refused at once in one sentence, before anything is written",
)
ODD = {
    "a percent sign": "50%",
    "an escape": "a%20b",
    "an escaped slash": "a%2Fb",
    "a query": "q?r=1&s",
    "a fragment": "x#y",
    "a semicolon": "a;b=c",
    "quotes": 'it\'s "q" `id`',
    "blanks": " a  b ",
    "a line break": "a\nb",
    "a carriage return": "a\rb",
    "a colour": "a\x1b[31mb",
    "a dash": "-rf",
    "a tilde": "~",
    "a variable": "$HOME",
    "a pattern": "*[b]?{x}",
    "dots": "...a.",
    "a backslash": "a\\b",
    "a user and a host": "u:p@h",
    "an accent of its own": "u\u0308ber 名",
    "255 bytes": "n" * 255,
}
NEW = list(many_runs.specs(methods=1, datasets=2, seeds=1))[1]
TYPICAL = ("an escape", "a query")
ALL = 'a%20b 50% q?r=1&s x#y;it\'s "q" $HOME *[b] {x} ~ \\ u:p@h ü\n名'
SMALL = ["--seeds", "1", "--jobs", "1", "--device", "cpu", "--set", "epochs=1"]
DIALS = ["--set", "dataset.train=30", "--set", "dataset.val=20", "--set", "dataset.test=20"]
NAMED = pytest.mark.parametrize(
    "name", [pytest.param(o, id=n, marks=[] if n in TYPICAL else pytest.mark.slow) for n, o in ODD.items()]
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with five runs, whose addresses lead nowhere."""
    folder = tmp_path_factory.mktemp("odd")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        record = Record(home=folder / "template")
        for spec in many_runs.specs(methods=5, datasets=1, seeds=1):
            many_runs.record_run(record, spec, folder)
    return (folder / "template").rename(folder / "made")


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, in which nothing may be made."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    for name in ("MLFLOW_TRACKING_URI", "MCR_BENCH_DATA_ROOT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "work"


def outside(folder: Path, *inside: Path) -> list[str]:
    """What lies in a folder and neither in one of these places nor on the way to one."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if not any(path == one or one in path.parents or path in one.parents for one in inside)
    )


def go_on(home: Path, folder: Path) -> None:
    """One more run is recorded, and read as every verb reads it."""
    record = Record(home=home)
    many_runs.record_run(record, NEW, folder)
    (row,) = record.rows(NEW.dataset)
    assert (row.status, len(record.predictions(row.run_id))) == ("finished", 400)


@NAMED
def test_a_home_is_read_and_written(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    home = copy_of(template, tmp_path / "h" / name, monkeypatch)
    call("results")
    call(*COMPARE)
    (tmp_path / "made").mkdir()
    go_on(home, tmp_path / "made")
    call("results", "--verify")
    assert outside(tmp_path, home, tmp_path / "work", tmp_path / "made") == []


@NAMED
def test_a_file_of_data_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name[:100]).mkdir()
    data = save(tmp_path / name[:100] / f"{name[:251]}.npz")
    call("data", "info", data)
    call("data", "verify", data)
    plan = call("run", "--methods", "joint", "--dataset", data, *SMALL, "--plan", "--json")
    assert json.loads(plan.stdout)["runs"]
    assert outside(tmp_path, Path(data), tmp_path / "work") == []


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["new", "prepare", "--csv", "report", "--paper"])
@pytest.mark.parametrize("name", [ALL, "3,000 characters"])
def test_what_commands_write_goes_where_they_were_told(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, verb: str
) -> None:
    home = copy_of(template, tmp_path / "home", monkeypatch)
    place = tmp_path / "out" / name if name == ALL else long_path(tmp_path / "out", 3000)
    if verb == "new":
        call("new", "method", "my-own", "--folder", str(place))
    elif verb == "prepare":
        write_digits(tmp_path / "raw" / ALL)
        root = ["--data-root", str(place)]
        call("data", "prepare", "av-mnist", "--source", str(tmp_path / "raw" / ALL), "--jobs", "1", *root)
        call("data", "info", "av-mnist", *root)
    else:
        file = str(place / "x.csv")
        arguments = {"--csv": ["results", "--csv", file], "report": ["report", "--output", file]}
        call(*arguments.get(verb, ["tables", "--paper", "--format", "csv", "--output", file]))
    assert any(place.iterdir())
    assert outside(tmp_path, place, home, tmp_path / "work", tmp_path / "raw") == []


def long_path(folder: Path, size: int) -> Path:
    """A path in `folder` of so many bytes, of names of up to 100."""
    while (left := size - len(str(folder)) - 1) > 0:
        folder /= "d" * (left if left <= 100 else min(100, left - 2))
    return folder


@pytest.mark.slow
def test_every_verb_in_a_home_with_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training, and all that is done with its record: no folder of MLflow's own, nothing beside the home."""
    home, other = tmp_path / "h" / ALL, tmp_path / "o" / ALL
    (tmp_path / "d" / ALL).mkdir(parents=True)
    data = save(tmp_path / "d" / ALL / f"{ALL}.npz")
    monkeypatch.setenv("MCR_BENCH_HOME", str(home))
    call("run", "--methods", "joint", "--dataset", data, *SMALL, "--set", "model.width=4")
    monkeypatch.setattr(tracking, "prepare_file", store.prepare_file)
    for verb in (["results"], ["tables"], ["plot"], ["report"], ["results", "--verify"], ["run", "figure1", "--plan"]):
        call(*verb)
    call("export", str(tmp_path / "d" / ALL / "runs.zip"))
    monkeypatch.setenv("MCR_BENCH_HOME", str(other))
    assert "1 run added" in call("merge", str(home)).stdout
    assert "1 finished here already" in call("import", str(tmp_path / "d" / ALL / "runs.zip")).stdout
    call("forget", "--method", "joint", "--yes")
    call("forget", "--undo", "--yes")
    assert outside(tmp_path, home, other, tmp_path / "d" / ALL, tmp_path / "work") == []
    assert outside(tmp_path / "work") == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [ALL, "as long as possible"])
def test_a_record_that_mlflow_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Made by MLflow itself, and not copied as other tests' records are."""
    home = tmp_path / "h" / name if name == ALL else long_path(tmp_path, LONGEST_DATABASE - len("/mlflow.db"))
    (tmp_path / "made").mkdir()
    monkeypatch.setattr(tracking, "prepare_file", store.prepare_file)
    go_on(home, tmp_path / "made")
    assert outside(tmp_path, home, tmp_path / "made", tmp_path / "work") == []


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["ui", "server"])
def test_mlflows_server(tmp_path: Path, work: Path, verb: str) -> None:
    home, port = tmp_path / ALL, free_port()
    home.mkdir()
    env = os.environ | {"MCR_BENCH_HOME": str(home)}
    command = [sys.executable, "-m", "mcr_bench.cli", verb, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        assert f"127.0.0.1:{port}" in process.stdout.readline()
        if verb == "server":
            record = Record(f"http://127.0.0.1:{port}", home)
            many_runs.record_run(record, NEW, work)
            assert record.settle() == {}
            (work / "predictions.parquet").unlink()
        process.terminate()
        process.wait(60)
    assert outside(tmp_path, home, tmp_path / "user") == ["work"]
    if verb == "server":
        assert len(list(home.glob("server/artifacts/**/predictions.parquet"))) == 1


@pytest.mark.parametrize(
    "name",
    [
        "a%20b/x.db",
        "x.db?timeout=30",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("50%.db", "q%3Fr/x.db")),
    ],
)
def test_an_address_of_a_database(template: Path, tmp_path: Path, work: Path, name: str) -> None:
    """An address with escapes or options leads to its file, and to no folder with the address as its name."""
    file = work / name.partition("?")[0].replace("%20", " ").replace("%3F", "?")
    file.parent.mkdir(exist_ok=True)
    for ending in ("", "-wal"):
        shutil.copy(f"{template}/mlflow.db{ending}", f"{file}{ending}")
    record = Record(f"sqlite:///{name}", tmp_path / "home")
    assert record.start(NEW)
    assert len(record.rows()) == 6
    assert {Path(one).parts[0] for one in outside(work)} <= {file.relative_to(work).parts[0], *beside(file)}


def beside(file: Path) -> set[str]:
    return {f"{file.name}{ending}" for ending in (".lock", "-wal", "-shm")}


def test_a_tilde_is_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shells leave it as it is in --option=~/data and between quotes."""
    (tmp_path / "user").mkdir()
    monkeypatch.setenv("MCR_BENCH_HOME", "~/runs")
    call("new", "method", "my-own", "--folder=~/mine")
    assert Record().home == (tmp_path / "user" / "runs").resolve()
    assert (tmp_path / "user" / "mine" / "my_own.py").is_file()
    assert outside(tmp_path / "work") == []


def test_a_link_and_a_way_back_are_the_folder_they_lead_to(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = copy_of(template, long_path(tmp_path, 400), monkeypatch)
    (tmp_path / "l%20").symlink_to(home)
    monkeypatch.setenv("MCR_BENCH_HOME", "../work/../l%20")
    assert "joint" in call("results").stdout
    assert outside(tmp_path, home, tmp_path / "l%20") == ["work"]


TOO_LONG = f"at most {LONGEST_DATABASE}"
HOMES: dict[str, tuple[str | int, str]] = {  # a number: an absolute path of so many bytes
    "one byte too many": (LONGEST_DATABASE - len("/mlflow.db") + 1, TOO_LONG),
    "600 characters": (600, TOO_LONG),
    "3,000 characters": (3000, TOO_LONG),
    "5,000 characters": (5000, "Shorten it"),
    "a name of 256 bytes": ("missing/" + "h" * 256, "255"),
    "a name of 130 letters of two bytes": ("ü" * 130, "260 bytes"),
    "a byte that is not UTF-8": ("a\udcffb", "not UTF-8"),
    "such a byte in a folder above": ("\udcff/x/y", "not UTF-8"),
    "an address of a file": ("file:///tmp/x", "an address"),
    "an address of a database": ("sqlite:///x/mlflow.db", "an address"),
    "an address of a server": ("http://host:5000", "an address"),
    "a file": ("a file", "not a folder"),
    "a folder in a file": ("a file/home", "not a folder"),
    "a device": ("/dev/null", "not a folder"),
    "a link that leads in a circle": ("circle/home", "not a folder"),
}
TRAIN = ("run", "--methods", "joint", "--dataset", "synthetic", *SMALL, *DIALS)
VERBS = {
    "results": ("results",),
    "export": ("export", "x.zip"),
    "merge": ("merge", "."),
    "server": ("server",),
    "ui": ("ui",),
    "run": TRAIN,
}


def refused(*arguments: str, said: str, folder: Path) -> None:
    """Exit code 2 within a moment, one line that says why, and nothing written."""
    before, began = sorted(folder.rglob("*")), time.monotonic()
    done = call(*arguments, code=2)
    assert time.monotonic() - began < 30
    assert sorted(folder.rglob("*")) == before
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert len(line) < 600


@pytest.fixture
def obstacles(work: Path) -> None:
    (work / "a file").write_text("")
    (work / "circle").symlink_to("circle")


@pytest.mark.usefixtures("obstacles")
@pytest.mark.parametrize(
    "verb", [pytest.param(v, id=v, marks=[] if v == "results" else pytest.mark.slow) for v in VERBS]
)
@pytest.mark.parametrize(("home", "said"), HOMES.values(), ids=HOMES)
def test_a_home_that_cannot_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str | int, said: str, verb: str
) -> None:
    monkeypatch.setenv("MCR_BENCH_HOME", home if isinstance(home, str) else str(long_path(tmp_path, home)))
    refused(*VERBS[verb], said=said, folder=tmp_path)


VALUES = {
    "data root, bytes": (("data", "info", "ave", "--data-root", "a\udcff"), "not UTF-8"),
    "data root, an address": (("data", "info", "ave", "--data-root", "s3://bucket/data"), "an address"),
    "data root, 5,000 characters": (("data", "info", "ave", "--data-root", "d" * 99 + "/d" * 2500), "Shorten it"),
    "data root of verify": (("data", "verify", "ave", "--data-root", "d" * 256), "255"),
    "data root of run": ((*TRAIN, "--data-root", "file:///data"), "an address"),
    "data root of check": (("check", "synthetic", "--data-root", "a\udcff"), "not UTF-8"),
    "a data file, bytes": (("run", "--methods", "joint", "--dataset", "./a\udcff.npz"), "not UTF-8"),
    "a data file, 3,000 characters": (("data", "info", "d" * 2996 + ".npz"), "Shorten it"),
    "a dataset's name, 300 characters": (("data", "info", "d" * 300), "unknown dataset"),
    "a method's file": (("describe", "./" + "m" * 300 + ".py"), "255"),
    "a method's file, bytes": (("check", "./a\udcff.py"), "not UTF-8"),
    "an experiment": (("run", "e" * 300 + ".toml"), "longer"),
    "an output, bytes": (("results", "--csv", "a\udcff.csv"), "not UTF-8"),
    "an output, a long name": (("report", "--output", "r" * 256), "255"),
    "an output, an address": (("tables", "--paper", "--output", "file:///x.tex"), "an address"),
    "an archive to write": (("export", "a\udcff.zip"), "not UTF-8"),
    "an archive to read": (("import", "z" * 300), "255"),
    "another home": (("merge", "a\udcff"), "not UTF-8"),
    "another home, long": (("merge", "h" * 200 + "/" + "h" * 200 + "/" + "h" * 200), TOO_LONG),
    "another home, an address": (("merge", "sqlite:///x/mlflow.db"), "an address"),
    "a folder for new files": (("new", "method", "mine", "--folder", "https://host/x"), "an address"),
    "a setting": ((*TRAIN, "--set", "encoder.kind=./a\udcff.py"), "not UTF-8"),
    "a database that is a folder": (("results", "--tracking-uri", "sqlite:///."), "names a folder"),
    "a folder as an address": (("results", "--tracking-uri", "./mlruns"), "sqlite:///FILE"),
    "a folder as an address, with file:": (("results", "--tracking-uri", "file:///x/a%20b"), "sqlite:///FILE"),
    "a database in memory": (("results", "--tracking-uri", "sqlite://"), "sqlite:///FILE"),
    "a database, too long": (("results", "--tracking-uri", "sqlite:///" + "d/" * 300 + "x.db"), TOO_LONG),
    "a database, bytes": (("results", "--tracking-uri", "sqlite:///a\udcff.db"), "not UTF-8"),
    "a server's database, too long": (("server", "--database", "sqlite:///" + "d/" * 300 + "x.db"), TOO_LONG),
    "a server's database, a folder": (("server", "--database", "sqlite:///."), "names a folder"),
}


@pytest.mark.usefixtures("obstacles")
@pytest.mark.parametrize(("arguments", "said"), VALUES.values(), ids=VALUES)
def test_a_value_that_cannot_be_one(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    refused(*arguments, said=said, folder=tmp_path)


def test_from_python_the_same_is_refused(tmp_path: Path) -> None:
    for root in ("a\udcff", "file:///data", "a\0b"):
        with pytest.raises(UserError, match="cannot be used"):
            run_from_python("joint", "synthetic", data_root=root)
    with pytest.raises(UserError, match="UTF-8"):
        Record(home=tmp_path / "a\udcff")


@pytest.fixture
def escapes_as_others_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "ESCAPED", store.PLAIN)


@pytest.mark.unprotected
@pytest.mark.usefixtures("escapes_as_others_write_them")
def test_a_plain_address(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the usual form of the address, MLflow makes a folder beside the home"""
    home = copy_of(template, tmp_path / "h" / "a%20b", monkeypatch)
    assert database_uri(home / "mlflow.db").startswith("sqlite:///")
    _ = Record(home=home).client
    assert outside(tmp_path, home, tmp_path / "work") == ["h/a%2520b"]


@pytest.mark.unprotected
def test_a_tilde_as_it_is(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the user's folder for it, a folder `~` is made in the working folder"""
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    call("new", "method", "my-own", "--folder=~/mine")
    assert (work / "~" / "mine" / "my_own.py").is_file()
