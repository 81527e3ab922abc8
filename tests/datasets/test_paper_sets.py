"""The paper's six datasets from raw files to results: `data prepare`, `data verify` and `run` with every method.

Small copies in the official layouts, 64-pixel frames, encoders of an eighth of the width. `python
tests/datasets/test_paper_sets.py FOLDER` is the long version: full shapes and widths, as `make test-data` runs it.
"""

import json
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mcr_bench.bench.catalog import registry
from mcr_bench.cli import app
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
    """What the command line says on stdout, called in `folder`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MCR_BENCH_HOME", str(folder / "results"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout


def settings(values: dict[str, int]) -> list[str]:
    return [text for key, value in values.items() for text in ("--set", f"{key}={value}")]


def dials(values: dict[str, int]) -> list[str]:
    return settings({key: value for key, value in values.items() if key.startswith("dataset.")})


@pytest.mark.parametrize("name", list(EIGHTH))
def test_from_raw_files_to_every_methods_results(name: str, tmp_path: Path) -> None:
    TREES[name](tmp_path / "raw")
    prepared = command(tmp_path, "data", "prepare", name, "--source", "raw", "--jobs", "1", *dials(EIGHTH[name]))
    assert str(Path("data") / name) in prepared
    verified = json.loads(command(tmp_path, "data", "verify", name, "--json", *dials(EIGHTH[name])))
    assert verified["protocols"]
    chosen = settings({**EIGHTH[name], "epochs": 1, "batch_size": 32})
    call = ["run", "--methods", "all", "--dataset", name, "--jobs", "1", "--json", *chosen]
    result = json.loads(command(tmp_path, *call, "--seeds", "1"))
    assert not result["failed"]
    ran = {row["method"] for row in result["runs"]} | {method for _, method, _ in result["skipped"]}
    assert ran == set(registry.method_names())
    assert all(row["status"] == "finished" for row in result["runs"])
    planned = json.loads(command(tmp_path, *call, "--seeds", "2", "--plan"))
    assert {row["seed"] for row in planned["runs"]} in ({0, 1}, {109, 19})


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
