"""`data info`, `data prepare` and `data verify` from the command line, on sets in memory and on encoded clips."""

import importlib
import json
import os
import re
import shutil
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from mcr_bench.bench.audit.info import in_words, info_of, prepare_command
from mcr_bench.bench.audit.verify import verification_of
from mcr_bench.bench.audit.verify_text import text_of
from mcr_bench.bench.catalog.registry import dataset, dataset_names
from mcr_bench.bench.commands import data as verbs
from mcr_bench.bench.core.user_files import import_file
from mcr_bench.bench.errors import UserError
from mcr_bench.cli import app
from mcr_bench.datasets.base import Preparation
from mcr_bench.tests.support.media.media_files import truncate, write_audio, write_clip
from mcr_bench.tests.support.runs.behaving import forget

VIDEOS = [f"{at:011}" for at in range(8)]
SMALL = ["--set", "dataset.frame_size=16", "--set", "dataset.crop=16"]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight videos in the layout of AVE, two classes; the first is in train and, as another event, in validation."""
    source = tmp_path_factory.mktemp("raw")
    for at, video in enumerate(VIDEOS):
        write_clip(source / f"AVE/{video}.mp4", seconds=2, seed=at)
    lines = [f"{('Bus', 'Cat')[at % 2]}&{video}&good&0&2" for at, video in enumerate(VIDEOS)]
    again = f"Cat&{VIDEOS[0]}&good&1&2"
    (source / "Annotations.txt").write_text("\n".join([*lines, again]))
    for name, part in (("train", lines[:4]), ("val", [*lines[4:6], again]), ("test", lines[6:])):
        (source / f"{name}Set.txt").write_text("\n".join(part))
    return source


def test_every_set_says_what_to_bring_and_how_to_prepare_it() -> None:
    for name in dataset_names():
        found = call("data", "info", name)
        assert found.exit_code == 0, found.output
        card = dataset(name).card
        text = " ".join(found.stdout.split())
        for wanted in (card.title, card.homepage, card.licence, card.expected, card.layout.splitlines()[-1]):
            assert " ".join(wanted.split()) in text, f"{name}: {wanted}"
        command = f"mcr-bench data prepare {name} --source DIR --data-root data"
        assert (command in text) != ("It needs no preparation." in text)
        assert max(map(len, found.stdout.splitlines())) <= 130


def test_info_reckons_the_prepared_size_from_the_recipe() -> None:
    text = call("data", "info", "ave", "--set", "dataset.frame_size=10", "--set", "dataset.frames=2").stdout
    row = 257 * 1004 * 2 + 2 * 3 * 10 * 10 + 4  # float16 spectrogram, uint8 frames, float32 aspect
    assert f"size when prepared: {in_words(4142 * row)} with these settings: 4,142 clips of {in_words(row)}" in text
    assert text.endswith("--data-root data --set dataset.frames=2 --set dataset.frame_size=10\n")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (12, "12 bytes"),
        (1500, "1.5 kB"),
        (999_499, "999 kB"),
        (999_600, "1 MB"),
        (5.39e9, "5.39 GB"),
        (2e16, "2e+04 TB"),
    ],
)
def test_sizes_in_words(size: float, text: str) -> None:
    assert in_words(size) == text


def test_the_command_of_another_preset_gives_the_same_dials(tmp_path: Path) -> None:
    data = verbs.dataset_of("ave", tmp_path, "paper-transformers", ())
    words = prepare_command(data).split()
    settings = [words[at + 1] for at, word in enumerate(words) if word == "--set"]
    assert settings
    assert verbs.dataset_of("ave", tmp_path, None, settings) == data


@pytest.mark.parametrize("name", ["ave", "utd-mhad"])
def test_a_run_without_data_ends_with_exactly_the_instructions(name: str, tmp_path: Path) -> None:
    root = str(tmp_path / "data")
    found = call("run", "--dataset", name, "--methods", "joint", "--data-root", root)
    assert found.exit_code == 2
    assert call("data", "info", name, "--data-root", root).stdout in found.stderr
    assert found.stdout == ""
    assert not (tmp_path / "data").exists()


def test_describe_holds_how_it_is_prepared_once(tmp_path: Path) -> None:
    card = json.loads(call("describe", "ave", "--data-root", str(tmp_path), "--json").stdout)
    assert card["prepare"] == f"mcr-bench data prepare ave --source DIR --data-root {tmp_path}"
    assert card["data"].startswith("ave is not prepared in")
    assert card["licence"] not in card["data"]
    assert "prepare" not in json.loads(call("describe", "synthetic", "--json").stdout)


def test_prepare_verify_and_what_was_truncated(events: Path, tmp_path: Path) -> None:
    source = tmp_path / "raw"
    (source / "AVE").mkdir(parents=True)
    for path in events.rglob("*.*"):
        (source / path.relative_to(events)).write_bytes(path.read_bytes())
    truncate(source / f"AVE/{VIDEOS[3]}.mp4")
    place = ["--data-root", str(tmp_path / "data"), *SMALL]
    made = call("data", "prepare", "ave", "--source", str(source), "--jobs", "1", *place)
    assert made.exit_code == 0, made.output
    assert made.stdout.startswith("8 of 9 clips")
    assert "9 of 9 clips" in made.stderr
    seen = call("data", "verify", "ave", "--content", *place)
    assert seen.exit_code == 0, seen.output
    assert "LEAK: 1 video in train and validation" in " ".join(seen.stdout.split())
    for line in (
        "ave: 8 clips, no known state",
        f"missing: 1 of the clips in trainSet.txt: {VIDEOS[3]}_0-2_cat",
        "every prepared sample is as it was written",
        "fold 1: train 3, validation 3, test 2",
        "LEAK by group (video): 1 video is in train and validation, all under other labels",
        "fold 1: train 2, validation 3, test 2, unused 1",
    ):
        assert line in seen.stdout
    assert f"left out: {VIDEOS[3]}_0-2_cat: {VIDEOS[3]}.mp4" in seen.stdout
    content = json.loads(call("data", "verify", "ave", "--json", *place).stdout)
    assert [protocol["name"] for protocol in content["protocols"]] == ["official", "official-dedup"]
    assert content["protocols"][0]["folds"][0]["leaks"][0]["shared"] == 1
    array = next((tmp_path / "data").rglob("video.npy"))
    array.write_bytes(array.read_bytes()[:-1] + b"\x01")
    seen = call("data", "verify", "ave", "--content", *place)
    assert seen.exit_code == 2
    assert "damaged, prepare again: " in seen.stdout


def test_an_empty_part_is_told_when_preparing_and_is_a_finding(events: Path, tmp_path: Path) -> None:
    source = tmp_path / "raw"
    shutil.copytree(events, source)
    place = ["--data-root", str(tmp_path / "data"), *SMALL]
    assert "EMPTY" not in call("data", "prepare", "ave", "--source", str(events), "--jobs", "1", *place).stdout
    assert "EMPTY" not in call("data", "verify", "ave", *place).stdout
    (source / "valSet.txt").write_bytes(b"\xef\xbb\xbf\r\n")
    made = call("data", "prepare", "ave", "--source", str(source), "--jobs", "1", *place)
    assert made.exit_code == 0, made.output
    assert "  valSet.txt: the list is empty; use it as it was published" in made.stdout.splitlines()
    assert made.stdout.splitlines()[-3:] == [
        "EMPTY: 2 folds cannot be run:",
        "  official, fold 1: no clip in validation",
        "  official-dedup, fold 1: no clip in validation",
    ]
    seen = call("data", "verify", "ave", *place)
    assert seen.exit_code == 0, seen.output
    assert "left out: valSet.txt: the list is empty; use it as it was published" in seen.stdout
    assert seen.stdout.count("    EMPTY: no sample in validation: this fold cannot be run\n") == 2
    assert "the selection set is not" not in seen.stdout
    assert "absent from train" in seen.stdout
    assert "absent from validation" not in seen.stdout
    protocols = json.loads(call("data", "verify", "ave", "--json", *place).stdout)["protocols"]
    assert [protocol["folds"][0]["empty"] for protocol in protocols] == [["validation"]] * 2


def test_a_file_of_arrays_is_verified(tmp_path: Path) -> None:
    x = np.arange(12.0).reshape(6, 2)
    x[5] = x[0]
    split = np.array(["train"] * 3 + ["val"] + ["test"] * 2)
    np.savez(tmp_path / "mine.npz", x_a=x, y=np.array([0, 1, 0, 1, 1, 0]), split=split, group=np.array(list("aabbcc")))
    assert "a leak" in call("data", "verify", str(tmp_path / "mine.npz")).stderr
    seen = call("data", "verify", str(tmp_path / "mine.npz"), "--set", "dataset.allow_group_overlap=true")
    assert seen.exit_code == 0, seen.output
    assert "LEAK by group: 1 of 1 groups are in train and validation" in seen.stdout
    assert "LEAK by content: 1 content is in train and test" in seen.stdout
    assert "compared" not in seen.stdout


def test_data_that_is_not_prepared_has_nothing_to_compare(tmp_path: Path) -> None:
    split = np.array(["train", "train", "val", "test"])
    np.savez(tmp_path / "mine.npz", x_a=np.arange(8.0).reshape(4, 2), y=np.array([0, 1, 0, 1]), split=split)
    for name in (str(tmp_path / "mine.npz"), "synthetic"):
        seen = call("data", "verify", name, "--content")
        assert seen.exit_code == 0, seen.output
        assert "no sample was compared: checksums of prepared samples are not available for this data" in seen.stdout
        assert "as it was written" not in seen.stdout
        assert json.loads(call("data", "verify", name, "--content", "--json").stdout)["damaged"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["info", "avee"], "Did you mean ave"),
        (["verify", "ave"], "ave is not prepared in"),
        (["verify", "nothing.npz"], "'nothing.npz' does not exist"),
        (["info", "ave", "--set", "epochs=3"], "unknown setting of the data of ave 'epochs'"),
        (["info", "ave", "--set", "dataset.frame=3"], "Did you mean dataset.frames"),
        (["info", "ave", "--set", "dataset.frames=2,4"], "one value at a time"),
        (["info", "ave", "--set", "dataset.frames=none"], "whole number"),
        (["info", "ave", "--preset", "papr"], "Did you mean paper"),
        (["prepare", "ave", "--source", ".", "--splits", "absent.txt"], "--splits 'absent.txt' is not a file"),
        (["prepare", "synthetic", "--source", "."], "needs no preparation"),
    ],
)
def test_what_the_user_can_mend_ends_with_2(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = call("data", *arguments)
    assert (found.exit_code, found.stdout) == (2, "")
    assert said in found.stderr


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(
    events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: object, done: int, __: int) -> None:
        if done >= 3:
            raise KeyboardInterrupt

    command = ["data", "prepare", "ave", "--source", str(events), "--data-root", str(tmp_path), "--jobs", "1", *SMALL]
    with monkeypatch.context() as patch:
        patch.setattr(verbs.Lines, "__call__", interrupt)
        stopped = call(*command)
    assert stopped.exit_code == 130
    assert "the same command continues from here" in stopped.stderr
    assert call("data", "verify", "ave", "--data-root", str(tmp_path), *SMALL).exit_code == 2
    done = call(*command)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("9 of 9 clips")


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(verbs.time, "monotonic", lambda: self.now)


def told(monkeypatch: pytest.MonkeyPatch, calls: list[tuple[float, int]], terminal: bool = False) -> str:
    """What is printed when `done` clips of 1,000 are told at these seconds."""
    clock, out = Clock(monkeypatch), StringIO()
    with verbs.progress(Console(file=out, force_terminal=terminal, width=100)) as shown:
        for seconds, done in calls:
            clock.now = 100 + seconds
            shown(done, 1000)
    return out.getvalue()


def test_a_pipe_gets_a_line_now_and_then_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    text = told(monkeypatch, [(0, 0), (1, 400), (20, 500), (21, 501), (40, 550), (60, 800), (61, 1000)])
    assert text.splitlines() == [
        "0 of 1,000 clips",
        "500 of 1,000 clips, 20 s left",  # 25 a second
        "550 of 1,000 clips, 3 min left",  # 2.5 a second since the last line
        "800 of 1,000 clips, 16 s left",
        "1,000 of 1,000 clips",
    ]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "1000/1000" in told(monkeypatch, [(0, 250), (1, 1000)], terminal=True)


def test_workers_and_lists_reach_the_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(dataset("utd-mhad"), "prepare", lambda _, request: seen.append(request) or "done")
    (tmp_path / "list.txt").touch()
    listed = ["--splits", str(tmp_path / "list.txt")]
    found = call("data", "prepare", "utd-mhad", "--source", str(tmp_path), "--jobs", "3", *listed)
    assert found.stdout == "done\n"
    (request,) = seen
    assert (request.source, request.splits, request.jobs) == (tmp_path, (tmp_path / "list.txt",), 3)
    call("data", "prepare", "utd-mhad", "--source", str(tmp_path))
    assert (seen[1].splits, seen[1].jobs) == ((), len(os.sched_getaffinity(0)))


def test_a_grid_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"--set dataset\.frames=2,4"):
        verbs.dataset_of("ave", Path("data"), None, ["dataset.frames=2,4"])


def test_the_adapter_in_the_documentation_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    text = (Path(__file__).parents[3] / "docs/data.md").read_text(encoding="utf-8")
    for name, block in zip(("my_raw", "my_set"), re.findall(r"```python\n(.*?)```", text, re.DOTALL), strict=True):
        (tmp_path / f"{name}.py").write_text(block, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    request.addfinalizer(partial(forget, "my_raw", "my_set"))  # other tests name new files so
    for at in range(8):
        write_audio(tmp_path / f"raw/s{at // 2}_{('no', 'yes')[at % 2]}.wav", seconds=0.2, rate=22050, seed=at)
    (tmp_path / "raw/s9_no.wav").write_bytes(b"version https://git-lfs")
    data = importlib.import_module("my_set").MySet(tmp_path / "data/my-set", rate=16000)
    assert "my-set --source DIR" in info_of(data)
    from_file = import_file(tmp_path / "my_set.py").MySet
    assert f"data prepare {tmp_path}/my_set.py:MySet --source DIR" in info_of(from_file(tmp_path / "data/my-set"))
    monkeypatch.chdir(tmp_path)
    assert "data prepare ./my_set.py:MySet --source DIR" in info_of(from_file(tmp_path / "data/my-set"))
    report = data.prepare(Preparation(tmp_path / "raw"))
    assert report.startswith("8 of 9 clips")
    assert data.facts().modalities["audio"].shape == (1, 257, 136)
    assert "speakers: train 2, validation 1, test 1" in text_of(verification_of(data, False))
    assert len(data.load("speakers", 1, 0, ("audio",)).train.batch(torch.arange(4)).target) == 4
