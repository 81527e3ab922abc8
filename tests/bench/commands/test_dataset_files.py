"""A dataset in a file of the user's: run, describe, data verbs, keys, and what goes wrong with it."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.cli import app

SET = '''"""Two sensors whose means move with the class."""
from dataclasses import dataclass
from typing import ClassVar

import torch

import beside
from mcr_bench.bench.settings import setting
from mcr_bench.bench.task import Task
from mcr_bench.datasets.base import Dataset, Facts, Modality, Protocol, Split, Splits, standardise

SHIFT = 0.5


@dataclass
class Sensors(Dataset):
    name: ClassVar[str] = "sensors"
    noise: float = setting(1.0, "standard deviation of the noise", at_least=0)

    def facts(self):
        return Facts({"heat": Modality((5,)), "sound": Modality((9, 2))}, Task(3))

    def protocols(self):
        return {"thirds": Protocol("thirds", "30/30/30", "validation", "accuracy")}

    def fingerprint(self):
        return "1"

    def load(self, protocol, fold, seed, modalities):
        draw = torch.Generator().manual_seed(0)
        parts = []
        for part in ("train", "val", "test"):
            y = torch.arange(30) % 3
            x = {m: torch.randn(30, *s.shape, generator=draw) for m, s in self.facts().modalities.items()}
            x = {m: self.noise * v + SHIFT * beside.SCALE * y.reshape(-1, *[1] * (v.ndim - 1)) for m, v in x.items()}
            parts.append(Split({m: x[m] for m in modalities}, y, [f"{part}{i}" for i in range(30)]))
        return standardise(Splits(*parts))
'''
METHOD = "\n\nfrom mcr_bench.methods.base import Method\n\n\nclass Mine(Method):\n    name = 'mine'\n"


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MCR_BENCH_HOME", "home")
    Path("my_set.py").write_text(SET)
    Path("beside.py").write_text("SCALE = 1.0\n")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def key(name: str = "./my_set.py", **settings: str) -> str:
    (run,) = make_plan(
        Request(["joint"], [name], seeds=[0], overrides={k.replace("__", "."): [v] for k, v in settings.items()})
    ).runs
    return run.key


def test_it_is_described_verified_and_told_about() -> None:
    card = json.loads(call("describe", "./my_set.py", "--json").stdout)
    assert (card["dataset"], card["modalities"]) == ("sensors", {"heat": [5], "sound": [9, 2]})
    assert [setting["key"] for setting in card["settings"]] == ["dataset.noise"]
    assert card["data"].startswith("sensors: 3 classes · 30/30/30 · heat (5,) -> mlp · sound (9, 2) -> conv1d")
    found = call("data", "verify", "./my_set.py")
    assert found.exit_code == 0
    assert "fold 1: train 30, validation 30, test 30" in found.stdout
    assert "classes (train/validation/test): 0 10/10/10" in found.stdout
    assert "It needs no preparation" in call("data", "info", "./my_set.py:Sensors").stdout


def test_its_runs_are_recorded_and_found_by_name_and_by_file() -> None:
    setting = ("--seeds", "1", "--set", "epochs=1", "--set", "dataset.noise=0.5", "--jobs", "1")
    found = call("run", "--methods", "joint", "--dataset", "./my_set.py", *setting, "--json")
    assert found.exit_code == 0, found.output
    assert "1 run, 0 finished, 1 to train" not in found.stdout
    again = call("run", "--methods", "joint", "--dataset", "my_set.py:Sensors", *setting, "--plan")
    assert "1 run, 1 finished, 0 to train" in again.stdout
    for name in ("sensors", "./my_set.py", "my_set.py:Sensors"):
        assert "sensors" in call("results", "--dataset", name).stdout
    Path("my_set.py").unlink()
    assert "sensors" in call("results", "--dataset", "./my_set.py").stdout
    assert call("tables").exit_code == 0
    gone = call("run", "--methods", "joint", "--dataset", "./my_set.py", *setting)
    assert (gone.exit_code, "dataset file 'my_set.py' does not exist" in gone.stderr) == (2, True)


def test_an_edited_file_is_another_dataset_and_so_is_one_beside_it() -> None:
    first = key()
    Path("copy.py").write_text(SET.replace("Two sensors", "Three sensors"))
    assert key("copy.py") == first
    assert key(dataset__noise="1.0") == first
    Path("beside.py").write_text("SCALE = 2.0\n")
    second = key()
    Path("my_set.py").write_text(SET.replace("SHIFT = 0.5", "SHIFT = 0.25"))
    assert len({first, second, key()}) == 3


def test_an_experiment_may_name_it() -> None:
    Path("mine.toml").write_text('methods = ["joint"]\ndatasets = ["./my_set.py"]\nseeds = 2\n\n[set]\nepochs = 1\n')
    assert "2 runs, 0 finished, 2 to train" in call("run", "mine.toml", "--plan").stdout


def test_a_preset_may_lie_beside_it() -> None:
    Path("my_set.toml").write_text('[loud]\norigin = "official-code"\nepochs = 3\n"dataset.noise" = 4.0\n')
    (run,) = make_plan(Request(["joint"], ["./my_set.py"], seeds=[0])).runs
    assert (run.preset, run.training["epochs"], run.dataset_settings["noise"]) == ("loud", 3, 4.0)


def edited(old: str, new: str) -> str:
    assert old in SET
    return SET.replace(old, new)


SLIPS = {
    "an error": (edited("return Facts(", "return Fact("), "sensors: facts() (line 20 of", "NameError"),
    "no return": (edited("return Facts(", "Facts("), "sensors: facts() returned None (is a `return` missing?)", ""),
    "no protocols": (
        edited('return {"thirds": ', 'return "one", {"thirds": '),
        "protocols() returned a tuple",
        "Return {",
    ),
    "a protocol of another name": (edited('{"thirds":', '{"halves":'), "protocols() names halves wrongly", ""),
    "no fingerprint": (edited('return "1"', "return 1"), "fingerprint() returned an int", "text"),
    "another shape": (edited("Modality((9, 2))", "Modality((9, 3))").replace("*s.shape", "*(s.shape[:-1] + (2,))"),
                      "load(): 'heat' of part train has shape (30, 2); facts() says (5,)", ""),
    "more values than samples": (
        edited("Split({m: x[m] for", "Split({m: torch.cat([x[m], x[m]]) for"),
        "load(): part train has 60 values of 'heat' and 30 ids",
        "",
    ),
    "an id twice": (edited('f"{part}{i}"', 'f"{part}{i // 2}"'), "load(): the id 'train0' is twice in part train", ""),
    "an id in two parts": (edited('f"{part}{i}"', 'f"{i}"'), "load(): the id '0' is in the parts train and val", ""),
    "a missing method": (edited("    def fingerprint(self):", "    def finger(self):"), "lacks fingerprint()", "docs"),
    "no name": (edited('    name: ClassVar[str] = "sensors"\n', ""), "class Sensors has no `name`", ""),
    "a taken name": (edited('"sensors"', '"synthetic"'), "the name 'synthetic' is taken", ""),
    "no dataclass": (edited("@dataclass\n", ""), "declares settings. Write @dataclass above it", ""),
    "suffixes": (edited("    noise:", '    suffixes: ClassVar = (".x",)\n    noise:'), "reads files of data", "entry"),
}  # fmt: skip
RUN_ONLY = ("no fingerprint",)


def test_parts_may_share_samples_where_the_protocol_has_a_note() -> None:
    text = edited('f"{part}{i}"', 'f"{i}"').replace(
        '"validation", "accuracy"', '"validation", "accuracy", note="a leak"'
    )
    Path("my_set.py").write_text(text)
    assert (
        "1 to train" in call("run", "--methods", "joint", "--dataset", "./my_set.py", "--seeds", "1", "--plan").stdout
    )


@pytest.mark.parametrize("case", SLIPS)
@pytest.mark.parametrize("verb", ["run", "describe"])
def test_slips_are_told_before_anything_is_trained(case: str, verb: str) -> None:
    if verb == "describe" and case in RUN_ONLY:
        return  # a card needs none
    text, *says = SLIPS[case]
    Path("my_set.py").write_text(text)
    plan = ("run", "--methods", "joint", "--dataset", "./my_set.py", "--seeds", "1", "--plan")
    found = call(*plan) if verb == "run" else call("describe", "./my_set.py")
    told = found.stderr if verb == "run" else found.output  # a card tells what is wrong with the data
    assert "Traceback" not in found.output
    assert all(text in " ".join(told.split()) for text in says), found.output
    assert verb == "describe" or found.exit_code == 2


def test_a_file_of_several_things_asks_for_a_class() -> None:
    Path("both.py").write_text(SET + METHOD)
    (run,) = make_plan(Request(["both.py"], ["both.py"], seeds=[0])).runs
    assert (run.method, run.dataset) == ("mine", "sensors")
    found = call("describe", "both.py")
    assert (found.exit_code, "defines several things: Mine (method), Sensors (dataset)" in found.stderr) == (2, True)
    assert "mine" in call("describe", "both.py:Mine").stdout
    assert "sensors" in call("describe", "both.py:Sensors").stdout
    Path("twice.py").write_text(SET + "\n\nclass Other(Sensors):\n    name = 'other'\n")
    found = call("run", "--methods", "joint", "--dataset", "twice.py", "--plan")
    assert (found.exit_code, "found 2: Other, Sensors. Name one: twice.py:Other" in found.stderr) == (2, True)
    assert make_plan(Request(["joint"], ["twice.py:Other"], seeds=[0])).runs[0].dataset == "other"


RAW = """
import numpy as np

from mcr_bench.datasets.clips import Clip, Field, Scan


def scan(source):
    return Scan([Clip(f.stem, at % 2, f.stem[0], {"raw": f}) for at, f in enumerate(sorted(source.glob("*.txt")))])


def decode(clip, settings):
    return {"numbers": np.array([float(clip.files["raw"].read_text())] * 3, "float32")}
"""
CLIPS = """
from dataclasses import dataclass
from typing import ClassVar

import raw
import numpy as np

from mcr_bench.datasets.base import Modality
from mcr_bench.datasets.clips import ClipDataset, Field, Plain, Recipe, Rule


@dataclass
class Clips(ClipDataset):
    name: ClassVar[str] = "clips"
    class_names = ("no", "yes")

    def scan(self, source, splits):
        return raw.scan(source)

    def recipe(self):
        return Recipe("clips", {"version": 1}, {"numbers": Field((3,), "float32")}, raw.decode, ())

    def modalities(self):
        return {"numbers": Modality((3,))}

    def view(self, modality, cache, train):
        return Plain(modality)

    def rules(self, cache):
        parts = np.array(["train", "train", "val", "val", "test", "test"])
        return {"halves": Rule("in order", "validation", "accuracy", lambda fold: parts)}
"""


def test_clips_are_prepared_in_processes_that_have_not_imported_the_file() -> None:
    Path("clips.py").write_text(CLIPS)
    Path("raw.py").write_text(RAW)
    Path("source").mkdir()
    for at in range(6):
        Path(f"source/{at}.txt").write_text(str(at))
    found = call("data", "prepare", "./clips.py", "--source", "source", "--jobs", "2")
    assert found.exit_code == 0, found.output
    assert "6" in found.stdout
    assert call("data", "verify", "./clips.py", "--content").exit_code == 0
    found = call("run", "--methods", "joint", "--dataset", "./clips.py", "--seeds", "1", "--set", "epochs=1", "--json")
    assert found.exit_code == 0, found.output
