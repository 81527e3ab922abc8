"""What is told of the data before the first run: the line, its notices, in text, in JSON and with --plan."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from typer.testing import CliRunner

from mcr_bench.bench.planning.overview import Overview, majority_share, overview, spread_of
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.task import Task
from mcr_bench.cli import app
from mcr_bench.datasets.base import Card, Facts, Modality
from mcr_bench.datasets.cache.recipe import Clip, Recipe, Scan
from mcr_bench.datasets.clips.dataset import ClipDataset, Rule
from mcr_bench.tests.support.runs.pretended import pretend

CARD = Card("t", "", "", "", "")


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MCR_BENCH_HOME", "home")


def save(y: Any = None, **more: Any) -> str:
    """The file of the README: 400/100/100 samples of 3 classes, 136 of the training part in the largest."""
    target = np.concatenate([np.repeat([0, 1, 2], [136, 132, 132]), np.arange(200) % 3]) if y is None else y
    draws = np.random.default_rng(0)
    arrays = {"x_voice": draws.normal(size=(600, 16)), "x_face": draws.normal(size=(600, 20, 4)), **more}
    np.savez("mine.npz", y=target, split=np.repeat(["train", "val", "test"], [400, 100, 100]), **arrays)
    return "mine.npz"


def told(source: str, **more: Any) -> Overview:
    (found,) = make_plan(Request(["joint"], [source], seeds=[0], **more)).overviews
    return found


def test_the_line_of_a_classification() -> None:
    found = told(save())
    assert (
        found.line == "mine.npz: 3 classes · 400/100/100 · voice (16,) -> mlp · face (20, 4) -> conv1d · majority 34 %"
    )
    assert found.text == found.line


def test_the_line_of_a_regression() -> None:
    y = np.concatenate([np.tile([-1.5, 1.5], 200), np.full(200, 9.5)])  # the other parts are not looked at
    assert told(save(y)).line.endswith("conv1d · target -1.5 to 1.5, standard deviation 1.5")
    assert told(save(y)).line.startswith("mine.npz: regression · 400/100/100 · ")


def test_the_line_follows_the_modalities_and_encoders_asked_for() -> None:
    found = told(save(), modalities=("face",), overrides={"encoder.face.kind": ["conv1d", "transformer"]})
    assert "face (20, 4) -> conv1d or transformer" in found.line
    assert "voice" not in found.line


def test_generated_data_is_told_too() -> None:
    assert told("synthetic").line.startswith("synthetic: 5 classes · 1000/500/1500 · m1 (100,) -> mlp")


def text_of(labels: dict[str, Any], classes: int | None = 3, folds: int = 1, names: tuple[str, ...] = ()) -> Overview:
    facts = Facts({"a": Modality((4,))}, Task(classes), names)
    return overview(facts, dict.fromkeys(range(1, folds + 1), labels), dataset="d", protocol="p", folds=folds,
                    modalities=("a",), encoders={"a": ["mlp"]})  # fmt: skip


def parts(train: Any, val: Any, test: Any) -> dict[str, Any]:
    return {"train": np.array(train), "val": np.array(val), "test": np.array(test)}


MANY = [0, 1, 2] * 40
NOTICES: dict[str, tuple[dict[str, Any], int | None, str]] = {
    "a class absent in test": (parts(MANY, MANY, [0, 1] * 60), 3, "absent from test: 1 class ('2')"),
    "classes absent in train": (parts([0] * 9, MANY, MANY), 3, "absent from train: 2 classes ('1', '2')"),
    "many": (parts([0, 1], list(range(9)), list(range(9)) * 12), 9, "train: 7 classes ('2', '3', '4', 4 more)"),
    "a small test part": (parts(MANY, MANY, MANY[:99]), 3, "the test part has 99 samples (one is 1.0 points"),
    "a small test part of scores": (parts([0.5, 1], [1, 2], [0.5] * 60), None, "the test part has 60 samples: small"),
    "imbalance": (parts([0] * 50 + [1] * 5 + [2] * 20, MANY, MANY), 3, "50 samples of class '0', 5 of class '1'"),
}  # fmt: skip


@pytest.mark.parametrize("case", NOTICES)
def test_notices_of_labels(case: str) -> None:
    labels, classes, says = NOTICES[case]
    assert any(says in notice for notice in text_of(labels, classes).notices)


def test_what_is_usual_has_no_notice() -> None:
    assert text_of(parts([0] * 49 + [1] * 5 + [2] * 20, MANY, MANY)).notices == ()
    assert text_of(parts([0.5] * 9 + [1.5], [1], MANY), None).notices == ()
    assert text_of({}).line == "d: 3 classes · a (4,) -> mlp"


def test_a_notice_names_the_folds_that_it_is_about() -> None:
    facts = Facts({"a": Modality((4,))}, Task(3), ("x", "y", "z"))
    labels = {1: parts(MANY, MANY, MANY), 2: parts(MANY, MANY, [0, 1] * 60), 3: parts(MANY, MANY, [0, 1] * 60)}
    found = overview(facts, labels, dataset="d", protocol="p", folds=5, modalities=("a",), encoders={})
    assert found.notices == ("fold 2, 3: absent from test: 1 class ('z')",)
    assert "120/120/120 (fold 1 of 5)" in found.line


def test_shares_and_spreads_by_hand() -> None:
    assert majority_share(np.array([0, 1, 1, 2])) == 0.5
    assert spread_of(np.array([1.0, 3.0])) == (1, 3, 1)


@dataclass
class Clips(ClipDataset):
    """Clips that nobody can decode."""

    name: ClassVar[str] = "clips"
    card: ClassVar[Card] = CARD
    class_names: ClassVar[tuple[str, ...]] = ("no", "yes")

    def scan(self, source: Path, splits: object) -> Scan:
        raise AssertionError

    def recipe(self) -> Recipe:
        return Recipe("none", {}, {}, lambda *_: {})

    def view(self, modality: str, cache: object, train: object) -> Any:
        raise AssertionError("a recording is read")

    def modalities(self) -> dict[str, Modality]:
        return {"sound": Modality((1, 8, 8))}

    def rules(self, cache: object) -> dict[str, Rule]:
        part = np.array(["train", "train", "val", "test", ""])
        return {"one": Rule("a rule", "validation", "accuracy", lambda _: part)}


def test_recordings_are_counted_from_the_index() -> None:
    clips = [Clip(f"c{i}", label, "g", {}) for i, label in enumerate([0, 1, 0, 1, 1])]
    data = pretend(Clips(Path("nowhere")), Scan(clips))
    labels = data.labels("one", 1, 0)
    assert {part: found.tolist() for part, found in labels.items()} == {"train": [0, 1], "val": [0], "test": [1]}
    assert data.findings() == []


def call(*arguments: str) -> Any:
    found = CliRunner().invoke(app, list(arguments))
    assert found.exit_code == 0, found.output
    return found


def test_the_block_comes_first_and_stands_in_json_and_plan() -> None:
    run = ["run", "--methods", "joint", "--dataset", save(np.repeat([1, 2, 3], 200)), "--seeds", "1", "--plan"]
    text = call(*run).stdout.splitlines()
    assert text[0].startswith("mine.npz: 3 classes · 400/100/100")
    assert "  notice: absent from train: 1 class ('3')." in text
    assert sum("labels are 1 to 3" in line for line in text) == 1
    (data,) = json.loads(call(*run, "--json").stdout)["data"]
    assert data["sizes"] == {"train": 400, "val": 100, "test": 100}
    assert data["encoders"] == {"voice": ["mlp"], "face": ["conv1d"]}
    assert (data["classes"], data["majority"], data["spread"]) == (3, 0.5, None)
    assert data["line"] == text[0]
    assert "absent from train: 1 class ('3')" in data["notices"]


def test_the_block_is_told_before_training() -> None:
    shape = ["--seeds", "1", "--set", "epochs=1", "--jobs", "1", "--json"]
    found = call("run", "--methods", "joint", "--dataset", save(), *shape)
    assert found.stderr.splitlines()[0].startswith("mine.npz: 3 classes · 400/100/100")
    assert json.loads(found.stdout)["data"][0]["majority"] == 0.34


def test_task_and_what_auto_finds_are_one_run() -> None:
    path = save()
    keys = [make_plan(Request(["joint"], [path], seeds=[0], overrides=set_)).runs[0].key
            for set_ in ({}, {"dataset.task": ["classification"]}, {"dataset.task": ["regression"]})]  # fmt: skip
    assert keys[0] == keys[1] != keys[2]
