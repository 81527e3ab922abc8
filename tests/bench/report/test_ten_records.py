"""Every verb that reads a record, on the ten kinds of record that research leaves: each ends well and leaves out
nothing but what it has a plain reason for."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from mcr_bench.bench.commands import drawing
from mcr_bench.bench.figures import style
from mcr_bench.bench.record.tracking import Record
from mcr_bench.cli import app
from mcr_bench.tests.support.records.recorded import empty_record, pretend, save

FAILURE = re.compile(r"\b\w*(Error|Exception)\b:")  # a programming error that became a line
# `report` draws every figure, so `plot` is asked for one of them: drawing is most of what this file costs.
VERBS = ("report", "plot methods", "tables", "compare")
METHODS = ("joint", "ensemble", "ogm-ge")


def two_settings(record: Record, folder: Path) -> None:
    data = save(folder / "two.npz")
    pretend(record, data, "joint", "ensemble", set={"epochs": ["1"]})
    pretend(record, data, "joint", set={"epochs": ["2"]})


def one_killed(record: Record, folder: Path) -> None:
    pretend(record, save(folder / "killed.npz"), *METHODS, seeds=(0, 1), killed=["joint"])


def one_failed(record: Record, folder: Path) -> None:
    pretend(record, save(folder / "failed.npz"), *METHODS, seeds=(0, 1), failed=["joint"])


def one_seed(record: Record, folder: Path) -> None:
    pretend(record, save(folder / "seed.npz"), *METHODS, seeds=(3,))


def one_method(record: Record, folder: Path) -> None:
    pretend(record, save(folder / "method.npz"), "joint", seeds=range(7))


def regression(record: Record, folder: Path) -> None:
    pretend(record, save(folder / "scores.npz", regression=True), *METHODS, seeds=range(6))


def modalities(record: Record, folder: Path) -> None:
    for count in (1, 6):
        methods = ("unimodal", "joint") if count == 1 else ("joint", "ensemble", "mcr")
        pretend(record, save(folder / f"of{count}.npz", count), *methods)


def no_ensemble(record: Record, folder: Path) -> None:
    pretend(record, save(folder / "plain.npz"), "joint", "ogm-ge", seeds=range(3))


def deleted(record: Record, folder: Path) -> None:
    path = Path(save(folder / "deleted.npz"))
    pretend(record, str(path), *METHODS, seeds=range(3))
    path.unlink()


def only_failed(record: Record, folder: Path) -> None:
    pretend(record, save(folder / "only.npz"), "joint", failed=["joint"])


KINDS = (two_settings, one_killed, one_failed, one_seed, one_method, regression, modalities, no_ensemble, deleted)
KINDS += (only_failed,)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Record:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return Record(home=tmp_path_factory.mktemp("template"))


@pytest.fixture(params=KINDS, ids=lambda make: make.__name__)
def kind(request: Any, template: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The working folder has a record of one kind."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    request.param(empty_record(template, tmp_path / "home"), tmp_path)
    return str(request.param.__name__)


@pytest.fixture(autouse=True)
def _one_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each figure once as SVG; the files of every format are tested elsewhere."""
    monkeypatch.setattr(drawing, "rendered", partial(style.rendered, formats=("svg",)))


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_every_verb_ends_well(kind: str) -> None:
    for verb in VERBS:
        baseline = ["--baseline", "joint"] if kind in ("no_ensemble", "one_method") else []
        done = call(*verb.split(), *baseline)
        told = done.output
        if verb == "report":
            told += Path("home/report.html").read_text()
        assert done.exit_code == 0, (verb, done.output, done.exception)
        assert not FAILURE.search(re.sub("ValueError: sizes of two tensors", "", told)), (verb, told)
