"""Whatever bad input a user brings: exit code 2, a message that names it, and nothing half-written."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import filelock
import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from mcr_bench.cli import app
from mcr_bench.datasets.cache import layout as _places
from mcr_bench.datasets.cache import prepare as _prepare
from mcr_bench.datasets.cache.journal import Store
from mcr_bench.tests.support.media import preparing
from mcr_bench.tests.support.media.media_files import lfs_pointer, truncate, write_clip
from mcr_bench.tests.support.media.mosi_files import CHANNELS, write_pickle

here = preparing.here  # a fixture: clips are decoded in this process

VIDEOS = {"trainSet": "train_video", "valSet": "valid_video", "testSet": "tests_video"}
SMALL = ["--set", "dataset.frame_size=16", "--set", "dataset.crop=16"]
RUN = ["--methods", "joint", "--seeds", "1", "--jobs", "1", "--set", "epochs=1"]
Change = Callable[[Path], object]


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder and the record are new."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MCR_BENCH_HOME", "home")


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw folder in the layout of AVE, of one video in each part."""
    source = tmp_path_factory.mktemp("events")
    lines = []
    for seed, (name, video) in enumerate(VIDEOS.items()):
        write_clip(source / f"AVE/{video}.mp4", 1, fps=5, seed=seed)
        lines.append(f"{('Bus', 'Cat')[seed % 2]}&{video}&good&0&1")
        (source / f"{name}.txt").write_text(lines[-1])
    (source / "Annotations.txt").write_text("\n".join(lines))
    return source


@pytest.fixture(scope="module")
def whole(events: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data root with the set prepared."""
    root = tmp_path_factory.mktemp("whole")
    made = call("data", "prepare", "ave", "--source", str(events), "--data-root", str(root), "--jobs", "1", *SMALL)
    assert made.exit_code == 0, made.output
    return root


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def refused(found: Result, *said: str, code: int = 2) -> None:
    """The exit code, an error that says all this, and neither a traceback nor an answer."""
    assert (found.exit_code, found.stdout) == (code, ""), found.output
    assert "error: " in found.stderr
    assert "Traceback" not in found.stderr
    for text in said:
        assert text in found.stderr


def files(folder: str) -> list[str]:
    """What lies in a folder but locks."""
    return sorted(path.name for path in Path(folder).rglob("*") if path.is_file() and path.name != ".lock")


def prepare(name: str, source: Path, *more: str) -> Result:
    return call("data", "prepare", name, "--source", str(source), "--jobs", "1", *more)


# Clips: where none can be used, the reasons are the error


def each(change: Change) -> Change:
    """The same to every video."""
    return lambda source: [change(path) for path in sorted((source / "AVE").iterdir())]


CLIPS: dict[str, tuple[Change, tuple[str, ...]]] = {
    "pointers": (each(lfs_pointer), ("train_video.mp4: a git-LFS pointer", "git lfs pull")),
    "truncated": (each(truncate), ("train_video.mp4: ", "Copy it again")),
    "empty": (each(lambda path: path.write_bytes(b"")), ("train_video.mp4: the file is empty",)),
    "no sound": (each(lambda path: write_clip(path, 1, fps=5, audio=False)), ("train_video.mp4: no audio stream",)),
    "missing": (each(Path.unlink), ("no AVE/train_video.mp4",)),
    "two of one": (lambda s: shutil.copy(s / "AVE/train_video.mp4", s / "AVE/train_video.MP4"), ("the same clip",)),
}
LISTS: dict[str, tuple[Change, tuple[str, ...]]] = {
    "a wrong class": (lambda s: (s / "valSet.txt").write_text("Buss&x&good&0&1"), ("valSet.txt, line 1", "mean Bus")),
    "a line of another kind": (lambda s: (s / "testSet.txt").write_text("x"), ("testSet.txt, line 1: 'x'",)),
    "a pointer": (lambda s: lfs_pointer(s / "testSet.txt"), ("testSet.txt' is a git-LFS pointer",)),
    "no text": (lambda s: (s / "testSet.txt").write_bytes(b"\xff\xfe\x00"), ("testSet.txt' cannot be read as text",)),
    "no list": (lambda s: (s / "testSet.txt").unlink(), ("no testSet.txt. Expected:",)),
    "one event in two parts": (
        lambda s: shutil.copy(s / "trainSet.txt", s / "valSet.txt"),
        ("valSet.txt lists train_video", "which is already in train"),
    ),
}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("case", [*CLIPS, *LISTS])
def test_raw_folders_that_cannot_be_used(case: str, events: Path) -> None:
    source = Path(shutil.copytree(events, "raw"))
    change, said = (CLIPS | LISTS)[case]
    change(source)
    refused(prepare("ave", source, *SMALL), *said)
    assert files("data") == []
    refused(call("run", "--dataset", "ave", *RUN, *SMALL), "ave is not prepared in")
    assert files("home") == []


def test_a_list_that_names_nothing_of_the_folder() -> None:
    for name in ("VideoFlash/1001_DFA_ANG_XX.flv", "AudioWAV/1001_DFA_ANG_XX.wav"):
        Path("raw", name).parent.mkdir(parents=True)
        Path("raw", name).touch()
    Path("splits.json").write_text('{"1": {"train": ["1002_DFA_ANG_XX"], "val": [], "test": []}}')
    found = prepare("cremad", Path("raw"), "--splits", "splits.json")
    refused(found, "splits.json lists 1 clip, all missing from the folder")
    refused(prepare("utd-mhad", Path("raw"), "--splits", "splits.json"), "utd-mhad has no split lists")
    refused(prepare("cremad", Path("raw"), "--splits", "absent.json"), "--splits 'absent.json' is not a file")
    assert files("data") == []


# Pickles


class Attack:
    def __reduce__(self) -> object:
        return Path.touch, (Path("was-run"),)


def spoil(content: dict[str, dict[str, np.ndarray]]) -> None:
    for part in content.values():
        part["vision"][:] = np.nan


@pytest.mark.usefixtures("here")
def test_pickles_that_cannot_be_used() -> None:
    write_pickle(Path("nan"), channels=CHANNELS, change=spoil)
    refused(prepare("mosi", Path("nan")), "none of the 32 clips in 'nan' can be used", "video")
    Path("bad").mkdir()
    for content, said in (
        (pickle.dumps({"train": Attack()}), "mosi_data.pkl' holds 'pathlib"),
        (pickle.dumps({"train": {}})[:-3], "mosi_data.pkl'"),
        (b"version https://git-lfs.github.com/spec/v1\n", "mosi_data.pkl' is a git-LFS pointer"),
    ):
        Path("bad/mosi_data.pkl").write_bytes(content)
        refused(prepare("mosi", Path("bad")), said)
    assert not Path("was-run").exists()
    assert files("data") == []


# Arrays of the user's own


ARRAYS: dict[str, tuple[dict[str, object], str]] = {
    "objects": (
        {"x_a": np.array([[1], [2, 3]] * 3, object)},
        "'x_a' is an array of Python objects, which",
    ),
    "NaN": ({"x_a": np.full((6, 2), np.nan)}, "'x_a' is NaN or infinite"),
    "infinite": ({"x_a": np.full((6, 2), np.inf)}, "'x_a' is NaN or infinite"),
    "labels out of range": ({"y": np.array([0, 1, 5] * 2), "class_names": np.array(["a", "b"])}, "'y' is 5"),
    "an empty split": ({"split": np.array(["train"] * 5 + ["val"])}, "the test split is empty"),
    "another split": ({"split": np.array(["train"] * 5 + ["eval"])}, "'split' is 'eval'"),
    "ids twice": ({"id": np.array(list("aabcde"))}, "id 'a' occurs more than once"),
    "a group in two splits": ({"group": np.zeros(6, int)}, "group '0' is in train"),
}


@pytest.mark.parametrize("case", [*ARRAYS, "pointer", "truncated", "absent"])
def test_arrays_that_cannot_be_used(case: str) -> None:
    changes, said = ARRAYS.get(case, ({}, "mine.npz'"))
    split = np.array(["train"] * 3 + ["val"] + ["test"] * 2)
    x = np.arange(12.0).reshape(6, 2)
    np.savez("mine.npz", **{"x_a": x, "x_b": x, "y": np.array([0, 1] * 3), "split": split} | changes)  # type: ignore[arg-type]
    {"pointer": lfs_pointer, "truncated": truncate, "absent": Path.unlink}.get(case, Path.stat)(Path("mine.npz"))
    for verb in (["data", "verify", "mine.npz"], ["run", "--dataset", "mine.npz", *RUN]):
        refused(call(*verb), "mine.npz", said)
    assert files("home") == []


# Places


PLACES = {
    "raw folder": "'raw/inside/ave' is inside the raw folder 'raw'",
    "no folder": "'data' is in the way: it is not a folder. Move it",
    "no room": "'data/ave' has 0.0 MiB free",
    "full": "cannot write 'data/ave' (No space left on device). Free disk space",
    "in use": "another `data prepare` is writing 'data/ave'",
}


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("case", PLACES)
def test_places_that_cannot_be_written(case: str, events: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, lock = "data", "other.lock"
    if case == "raw folder":
        events = Path(shutil.copytree(events, "raw"))
        root = "raw/inside"
    elif case == "no folder":
        Path("data").touch()
        root = "data/below"
    elif case == "no room":
        monkeypatch.setattr(_places.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    elif case == "full":
        monkeypatch.setattr(Store, "write", _full)
    else:
        Path("data/ave").mkdir(parents=True)
        lock = "data/ave/.lock"
    with filelock.FileLock(lock):
        refused(prepare("ave", events, "--data-root", root, *SMALL), PLACES[case], code=1 if case == "full" else 2)
    assert not list(Path().glob("*/**/manifest.json"))
    refused(call("data", "verify", "ave", "--data-root", root, *SMALL), "is not prepared in")


@pytest.mark.usefixtures("here")
def test_what_was_interrupted_is_not_taken_for_whole(events: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_prepare._Work, "finish", interrupt)
        assert prepare("ave", events, *SMALL).exit_code == 130
    for verb in (["data", "verify", "ave"], ["run", "--dataset", "ave", *RUN]):
        refused(call(*verb, *SMALL), "ave is not prepared in")
    assert prepare("ave", events, *SMALL).stdout.startswith("3 of 3 clips")


# Prepared sets


DAMAGE: dict[str, tuple[Change, str]] = {
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "manifest.json' cannot be read"),
    "no array": (lambda folder: (folder / "video.npy").unlink(), "video.npy' is missing"),
    "half an array": (lambda folder: truncate(folder / "audio.npy"), "audio.npy' has"),
    "an edited index": (lambda folder: (folder / "index.csv").write_text("id"), "index.csv' has"),
    "an edited list": (
        lambda folder: [p.write_bytes(p.read_bytes().replace(b"Bus", b"Cat")) for p in (folder / "lists").iterdir()],
        "differs from the file that was written",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_prepared_sets_that_are_damaged(case: str, whole: Path) -> None:
    shutil.copytree(whole, "data")
    change, said = DAMAGE[case]
    change(next(Path("data/ave").glob("resnet-*")))
    for verb in (["data", "verify", "ave"], ["run", "--dataset", "ave", *RUN]):
        refused(call(*verb, *SMALL), said, "Run `mcr-bench data prepare` again")
    assert files("home") == []
