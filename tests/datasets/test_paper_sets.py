"""The paper's six datasets from raw files to results: `data prepare`, `data verify` and `run`.

Small copies in the official layouts, 64-pixel frames, encoders of an eighth of the width. Every method is planned on
every set; joint training, the paper's method and the ensemble are trained on each of them, and every other method on
one, but not on the set of the largest networks. `make test-all` trains every method on every set.
`python tests/datasets/test_paper_sets.py FOLDER` is the long version: full shapes and widths (`make test-data`).
"""

import json
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.executors import chosen
from mcr_bench.cli import app
from mcr_bench.tests.support.house.cells import Forking
from mcr_bench.tests.support.media.official_trees import TREES

FRAMES = {"dataset.frame_size": 72, "dataset.crop": 64}
EIGHTH = {
    "cremad": FRAMES | {"encoder.width": 8, "model.width": 64},
    "ave": FRAMES | {"encoder.width": 8, "model.width": 64},
    "ucf101": FRAMES | {"encoder.width": 8, "model.width": 64},
    "mosi": {"encoder.width": 5, "model.width": 5},
    "mosei": {"encoder.width": 5, "model.width": 5},
    # a quarter of the frames: two Swins over sixteen would take longer than the other five sets together
    "something-something": FRAMES | {"dataset.frames": 4, "dataset.stride": 4, "encoder.width": 12, "model.width": 96},
}


def command(folder: Path, *arguments: str) -> str:
    """What the command line says on stdout, called in `folder`; runs are trained in forks of this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setitem(chosen.OURS, chosen.LOCAL, Forking)
        patch.setenv("MCR_BENCH_HOME", str(folder / "results"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout


def settings(values: dict[str, int]) -> list[str]:
    return [text for key, value in values.items() for text in ("--set", f"{key}={value}")]


def dials(values: dict[str, int]) -> list[str]:
    return settings({key: value for key, value in values.items() if key.startswith("dataset.")})


METHODS = registry.method_names()
LONG = ("ave", "cremad", "mosei", "something-something", "ucf101")  # half a minute or more each: `make test-all`
ON_EACH = ("joint", "mcr", "ensemble")
# The others are dealt to sets of which a run takes about a second; those that take classes alone to sets of classes.
QUICK = [name for name in EIGHTH if name != "something-something"]
CLASSES = [name for name in QUICK if name not in ("mosi", "mosei")]


def dealt() -> dict[str, list[str]]:
    """Set -> the methods that are trained on it: `ON_EACH`, and every other method on one set, in turns."""
    methods = {name: [*ON_EACH] for name in EIGHTH}
    for number, method in enumerate(name for name in METHODS if name not in ON_EACH):
        places = CLASSES if registry.method(method).needs.classification else QUICK
        methods[places[number % len(places)]].append(method)
    return methods


def prepared(name: str, folder: Path) -> None:
    TREES[name](folder / "raw")
    told = command(folder, "data", "prepare", name, "--source", "raw", "--jobs", "1", *dials(EIGHTH[name]))
    assert str(Path("data") / name) in told
    verified = json.loads(command(folder, "data", "verify", name, "--json", *dials(EIGHTH[name])))
    assert verified["protocols"]


def call(name: str, methods: list[str], *options: str) -> list[str]:
    """`run` of some methods on a set."""
    chosen = settings({**EIGHTH[name], "epochs": 1, "batch_size": 32})
    return ["run", "--methods", ",".join(methods), "--dataset", name, "--jobs", "1", "--json", *chosen, *options]


def require_trained(name: str, methods: list[str], folder: Path) -> None:
    """Train them; every one has finished, or is left out with a reason."""
    result = json.loads(command(folder, *call(name, methods, "--seeds", "1")))
    assert not result["failed"]
    ran = {row["method"] for row in result["runs"]}  # also those that others start from
    assert ran | {method for _, method, _ in result["skipped"]} >= {*methods}
    assert all(row["status"] == "finished" for row in result["runs"])
    assert ran >= {*ON_EACH} - {"ensemble"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LONG)) for n in EIGHTH])
def test_from_raw_files_to_results(name: str, tmp_path: Path) -> None:
    prepared(name, tmp_path)
    require_trained(name, dealt()[name], tmp_path)
    planned = json.loads(command(tmp_path, *call(name, ["all"], "--seeds", "2", "--plan")))
    assert {row["seed"] for row in planned["runs"]} in ({0, 1}, {109, 19})
    every = {row["run"].split()[0] for row in planned["runs"]} | {method for _, method, _ in planned["skipped"]}
    assert every == {*METHODS}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(EIGHTH))
def test_every_method_on_every_set(name: str, tmp_path: Path) -> None:
    prepared(name, tmp_path)
    require_trained(name, METHODS, tmp_path)


def test_every_method_is_trained_on_a_set_that_it_takes() -> None:
    methods = dealt()
    assert {method for of_set in methods.values() for method in of_set} == {*METHODS}
    assert all(len(of_set) < len(METHODS) for of_set in methods.values())


def full(folder: Path) -> None:
    """Every set at full shape and width, joint training and the paper's method, with the time of each step."""
    for name in TREES:
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        steps = {
            "tree": lambda name=name, place=place: TREES[name](place / "raw") and None,
            "prepare": lambda name=name, place=place: command(
                place, "data", "prepare", name, "--source", "raw", "--jobs", "2"
            ),
            "verify": lambda name=name, place=place: command(place, "data", "verify", name),
            "run": lambda name=name, place=place: command(
                *(place, "run", "--methods", "joint,mcr", "--dataset", name, "--seeds", "1", "--set", "epochs=1"),
                *("--set", "batch_size=4", "--jobs", "1"),
            ),
        }
        for step, work in steps.items():
            began = time.monotonic()
            said = work()
            print(f"{name}: {step}: {time.monotonic() - began:.0f} s\n{said or ''}", flush=True)


if __name__ == "__main__":
    full(Path(sys.argv[1]).resolve())
