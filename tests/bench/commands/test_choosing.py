"""`--dataset` of every verb that reads a record: names in tables, and paths as `run` takes them."""

import json
import os
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from mcr_bench.bench.commands.choosing import chosen
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.record.tracking import Record
from mcr_bench.cli import app
from mcr_bench.tests.support.records.recorded import empty_record, pretend, save
from mcr_bench.tests.support.records.run_rows import run_row

PATHS = ("m.npz", "./m.npz", "{here}/m.npz", "{here}/m.npz/", "sub/../m.npz", "~/m.npz", "{here}/./m.npz")


def row(source: str, fingerprint: str = "f", method: str = "joint") -> RunRow:
    return run_row(method, dataset=Path(source).name, dataset_source=source, fingerprint=fingerprint)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a record of `m.npz` and of the generated data, from which the file was deleted since."""
    folder = tmp_path_factory.mktemp("place")
    before = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        os.chdir(folder)
        record = empty_record(Record(home=folder / "template"), folder / "home")
        pretend(record, save(Path("m.npz")), "joint", "ensemble")
        pretend(record, "synthetic", "joint", set={"dataset.train": ["30"], "dataset.val": ["20"]})
        Path("m.npz").unlink()
        os.chdir(before)
    return folder


@pytest.fixture(autouse=True)
def _there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MCR_BENCH_HOME", str(place / "home"))
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.chdir(place)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize("path", PATHS)
def test_results_take_every_path_that_run_takes(path: str, place: Path) -> None:
    done = call("results", "--dataset", path.format(here=place), "--json")
    assert done.exit_code == 0, done.output
    assert {run["dataset"] for run in json.loads(done.stdout)} == {"m.npz"}


@pytest.mark.parametrize("verb", [["compare"], ["tables"], ["plot", "methods"], ["report"]])
def test_every_verb_takes_the_path_of_a_file_that_is_gone(verb: list[str], place: Path) -> None:
    done = call(*verb, "--dataset", f"{place}/m.npz")
    assert done.exit_code == 0, done.output
    assert "synthetic" not in done.stdout


@pytest.mark.parametrize("verb", [["results"], ["compare"], ["tables"], ["plot"], ["report"]])
@pytest.mark.parametrize("asked", ["n.npz", "/nowhere/n.npz", "ave", "sub/synthetic", "m"])
def test_an_unknown_dataset_names_what_is_on_record(verb: list[str], asked: str) -> None:
    done = call(*verb, "--dataset", asked)
    assert done.exit_code == 2, done.output
    assert f"unknown dataset on record '{asked}'" in done.stderr
    assert "Known: m.npz, synthetic." in done.stderr


def test_an_unknown_method_names_those_on_record() -> None:
    done = call("results", "--dataset", "./m.npz", "--method", "jonit")
    assert (done.exit_code, "Did you mean joint?" in done.stderr) == (2, True), done.output


def test_run_takes_a_path_below_the_home_folder(place: Path) -> None:
    save(place / "new.npz")
    done = call("run", "--methods", "joint", "--dataset", "~/new.npz", "--plan", "--json")
    (place / "new.npz").unlink()
    assert done.exit_code == 0, done.output
    assert {run["dataset"] for run in json.loads(done.stdout)["runs"]} == {"new.npz"}


def test_a_path_leaves_out_another_file_of_the_same_name(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row("a/m.npz", "one"), row("b/m.npz", "two"), row(str(Path("b/m.npz").resolve()), "three")]
    assert chosen(rows, "a/m.npz") == rows[:1]
    assert chosen(rows, "b/m.npz") == rows[1:]
    assert chosen(rows, "m.npz") == rows, "the name in tables is that of both"
    assert not capsys.readouterr().err
    assert chosen(rows, "c/m.npz") == rows, "the record cannot tell where the file lay"
    told = capsys.readouterr().err
    assert "no run was given 'c/m.npz'" in told
    assert "'a/m.npz', 'b/m.npz'" in told


def test_the_same_data_at_another_place_belong_to_the_path() -> None:
    rows = [row("a/m.npz", "one"), row("copy/m.npz", "one")]
    assert chosen(rows, "./a/m.npz") == rows


def test_an_empty_record_knows_no_name_and_refuses_none() -> None:
    assert chosen([], "anything") == []
    with pytest.raises(UserError, match=r"Known: m\.npz"):
        chosen([row("m.npz")], "synthetic")
