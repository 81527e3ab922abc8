"""`describe` and `run` on files of the user: what is wrong is said, with exit code 2, or what the data is."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from mcr_bench.cli import app

DATASET = """
from dataclasses import dataclass
from typing import ClassVar

import beside
from mcr_bench.datasets.base import Card, Dataset


@dataclass
class MySet(Dataset):
    name: ClassVar[str] = "my-set"
    card: ClassVar[Card] = Card("t", "", "", "", "")
    facts = protocols = fingerprint = load = beside.nothing
"""
METHOD = "from mcr_bench.methods.base import Method\n\n\nclass Mine(Method):\n    name = 'mine'\n"


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MCR_BENCH_HOME", "home")
    Path("my_set.py").write_text(DATASET)
    Path("beside.py").write_text("def nothing(self): ...\n")
    Path("mine.py").write_text(METHOD)
    Path("empty.py").write_text("x = 1\n")
    Path("broken.py").write_text("import no_such_library\n")
    y, split = np.arange(400) % 3, np.repeat(["Train", "Valid", "Test"], [200, 100, 100])
    x = np.random.default_rng(0).normal(size=(400, 4))
    np.savez("good.npz", x_voice=x, y=y, split=split)
    np.savez("bad.npz", x_voice=x, y=np.eye(3)[y], split=split)
    Path("table.csv").write_text("a,label,split\n")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def refused(found: Result, *said: str) -> None:
    assert (found.exit_code, found.stdout) == (2, ""), found.output
    assert "Traceback" not in found.stderr
    for text in said:
        assert text in found.stderr


REFUSED = {
    "empty.py": "'empty.py' defines no method, dataset, encoder or fusion head",
    "broken.py": "No module named 'no_such_library'",
    "none.py": "'none.py' does not exist",
    "none.npz": "'none.npz' does not exist",
    "bad.npz": "one-hot labels. Save y = y.argmax(1)",
    "table.csv": "It is a CSV table. These lines make an .npz of it",
    "quick.toml": "mcr-bench run quick.toml --plan",
    "joint,mcr": "one at a time",
    "home/none": "'home/none' does not exist",
    "jiont": "Did you mean joint",
}


@pytest.mark.parametrize("name", REFUSED)
def test_describe_says_what_is_wrong(name: str) -> None:
    refused(call("describe", name), REFUSED[name])


def test_describe_tells_a_method_and_an_array_file() -> None:
    assert json.loads(call("describe", "./mine.py", "--json").stdout)["method"] == "mine"
    card = json.loads(call("describe", "good.npz", "--json").stdout)
    assert card["data"] == "good.npz: 3 classes · 200/100/100 · voice (4,) -> mlp · majority 34 %"
    assert card["notices"] == ["words in 'split' are read as parts: 'Train' as train, 'Valid' as val, 'Test' as test"]


RUNS = {
    ("joint", "./my_set.py"): ("my-set: facts()", "returned None (is a `return` missing?). Return Facts("),
    ("joint", "mine.py"): ("defines the method Mine, not a dataset: --methods mine.py",),
    ("joint", "empty.py"): ("'empty.py' defines no Dataset",),
    ("joint", "none.py"): ("dataset file 'none.py' does not exist",),
    ("./my_set.py", "good.npz"): ("defines the dataset MySet, not a method: --dataset ./my_set.py",),
    ("good.npz", "good.npz"): ("unknown method 'good.npz'",),
    ("joint", "bad.npz"): ("one-hot labels",),
}


@pytest.mark.parametrize(("methods", "dataset"), RUNS)
def test_run_says_what_is_wrong(methods: str, dataset: str) -> None:
    refused(call("run", "--methods", methods, "--dataset", dataset, "--seeds", "1"), *RUNS[methods, dataset])
    assert not list(Path().glob("home/*.db"))


PLANNED = {
    "    def skip(self, facts):\n        return False\n": "mine: skip() (line 7 of",
    "    def skip(self, facts):\n        return facts.nothing\n": "skip() (line 7 of",
    "    def requires(self, modalities):\n        return None\n": "requires() (line 7 of",
    "    def requires(self, modalities):\n        return ['unimodal']\n": "a str. Return a list: [Requirement(",
    "    @classmethod\n    def variants(cls, modalities):\n        return modalities\n": "returned a tuple",
}


@pytest.mark.parametrize("body", PLANNED)
def test_hooks_that_plan_are_checked_before_anything_is_trained(body: str) -> None:
    path = Path("planned.py").resolve()  # a path is imported once in a process
    path.write_text(f"{METHOD}\n{body}")
    refused(call("run", "--methods", str(path), "--dataset", "good.npz", "--plan"), PLANNED[body])
