"""Sets beside the paper's six, from raw files to results: `data info`, `prepare`, `verify` and `run`.

Small copies in the official layouts, 16-pixel frames, the smallest encoders; the truth of each modality alone, where
the data has it, is in the predictions. Slow: `prepare` killed ten times is equal
to one clean pass, for each kind of source.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mcr_bench.bench.catalog.registry import dataset_names
from mcr_bench.datasets.cache.opened import open_cache
from mcr_bench.datasets.iemocap import Iemocap
from mcr_bench.datasets.mustard import Mustard
from mcr_bench.datasets.ur_funny import UrFunny
from mcr_bench.tests.datasets.test_paper_sets import command, dials, settings
from mcr_bench.tests.support.media import array_files, mmsa_files, multibench_files, nv_files, pair_files, ucf_files
from mcr_bench.tests.support.media import web_files as web
from mcr_bench.tests.support.media.raw_clips import content

FRAMES = {"dataset.frame_size": 16, "dataset.crop": 16}
MOTION = FRAMES | {"encoder.width": 4, "model.width": 8}
STEPS = {"encoder.width": 5, "model.width": 5, "encoder.depth": 1}
PAIRS = {"dataset.picture_size": 16, "dataset.crop": 16, "encoder.width": 4, "encoder.depth": 1, "model.width": 4}
SOUND = MOTION | {"dataset.seconds": 0.5}


def dialled(values: dict[str, Any]) -> dict[str, Any]:
    return {f"dataset.{key}": value for key, value in values.items()}


def acted_frames(folder: Path) -> Path:
    """30 clips of CREMA-D's layout whose frames and sound were extracted before."""
    for n in range(30):
        web.extracted_clip(folder, f"{1001 + n // 6}_DFA_{('ANG', 'DIS', 'FEA', 'HAP', 'NEU', 'SAD')[n % 6]}_XX", n)
    return folder


# A set, or a kind of source of a set -> its raw folder, and the settings that make it small.
KINDS: dict[str, tuple[str, Callable[[Path], Path], dict[str, Any]]] = {
    "kinetics-sounds": ("kinetics-sounds", web.kinetics_sounds, SOUND),
    "vggsound": ("vggsound", web.vggsound, SOUND),
    "nvgesture": ("nvgesture", nv_files.nvgesture, MOTION | {"dataset.frames": 2, "encoder.kind": "conv2d"}),
    "flow of ucf101": ("ucf101", ucf_files.videos, MOTION | {"dataset.flow": "dis", "dataset.frames": 2}),
    "flow images of ucf101": ("ucf101", ucf_files.release, MOTION | {"dataset.flow": "tvl1", "dataset.frames": 2}),
    "frames of cremad": ("cremad", acted_frames, SOUND),
    **{
        cls.name: (cls.name, partial(multibench_files.write, kind=cls), STEPS | dialled(multibench_files.DIALS))
        for cls in (UrFunny, Mustard, Iemocap)
    },
    "ch-sims": ("ch-sims", mmsa_files.write_sims, STEPS | dialled(mmsa_files.SIMS)),
    "mm-imdb": ("mm-imdb", array_files.write_films, {"model.width": 5} | dialled(array_files.SMALL)),
    "mvsa-single": ("mvsa-single", pair_files.mvsa, PAIRS),
    "food101": ("food101", pair_files.food, PAIRS),
    "av-mnist": ("av-mnist", array_files.write_digits, {"encoder.width": 2, "model.width": 5}),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_from_raw_files_to_results(kind: str, tmp_path: Path) -> None:
    name, tree, small = KINDS[kind]
    assert name in dataset_names()
    tree(tmp_path / "raw")
    assert f"mcr-bench data prepare {name}" in command(tmp_path, "data", "info", name)
    command(tmp_path, "data", "prepare", name, "--source", "raw", "--jobs", "1", *dials(small))
    verified = json.loads(command(tmp_path, "data", "verify", name, "--content", "--json", *dials(small)))
    assert verified["damaged"] == []
    assert verified["protocols"]
    call = ["run", "--methods", "joint,ensemble,mcr", "--dataset", name, "--seeds", "1", "--jobs", "1", "--json"]
    result = json.loads(command(tmp_path, *call, *settings({**small, "epochs": 1, "batch_size": 16})))
    assert not result["failed"]
    assert {"joint", "mcr"} <= {row["method"] for row in result["runs"]}
    assert all(row["status"] == "finished" for row in result["runs"])
    tables = [pq.read_schema(path).names for path in (tmp_path / "results").rglob("predictions.parquet")]
    truths = {len([column for column in names if column.startswith("label/")]) for names in tables}
    assert truths == ({0, 3} if name == "ch-sims" else {0})  # a run of one modality learns the label of all


def _prepare(kind: str, place: Path, source: Path) -> "subprocess.Popen[bytes]":
    name, _, small = KINDS[kind]
    call = ["data", "prepare", name, "--source", str(source), "--data-root", str(place), "--jobs", "2", *dials(small)]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-m", "mcr_bench.cli", *call], start_new_session=True, **silent)  # type: ignore[call-overload,no-any-return]


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_ten_kills_are_one_clean_pass(kind: str, tmp_path: Path) -> None:
    source = KINDS[kind][1](tmp_path / "raw")
    begun = time.monotonic()
    assert _prepare(kind, tmp_path / "clean", source).wait() == 0
    seconds, draw, kills = time.monotonic() - begun, random.Random(0), 0
    while kills < 10:
        process = _prepare(kind, tmp_path / "killed", source)
        time.sleep(draw.uniform(0.3, 1.0) * seconds)
        kills += process.poll() is None
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert _prepare(kind, tmp_path / "killed", source).wait() == 0
    (killed,), (clean,) = (
        [path.parent for path in (tmp_path / place / KINDS[kind][0]).glob("*/manifest.json")]
        for place in ("killed", "clean")
    )
    open_cache(killed)
    assert content(killed) == content(clean)
