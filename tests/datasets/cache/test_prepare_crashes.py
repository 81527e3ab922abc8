"""Preparing clips when it goes wrong: crashes at every step, Ctrl-C, dying workers, kills at random, memory."""

import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.cache import journal as _journal
from mcr_bench.datasets.cache import layout as _places
from mcr_bench.datasets.cache import workers as _workers
from mcr_bench.datasets.cache.journal import Store
from mcr_bench.datasets.cache.opened import open_cache
from mcr_bench.datasets.cache.prepare import prepare_clips
from mcr_bench.datasets.cache.recipe import Scan
from mcr_bench.tests.support.media import preparing, raw_clips
from mcr_bench.tests.support.media.preparing import FOLDER, beside, clean, prepare
from mcr_bench.tests.support.media.raw_clips import content, raw, scan

here, in_tmp = preparing.here, preparing.in_tmp  # fixtures


# Crashes


class Crash(BaseException):
    """A kill, as far as the files can tell."""


def crashing(patch: pytest.MonkeyPatch, at: int) -> None:
    """The process ends at the `at`-th step that changes the disk, before or (every second time) after it."""
    left = [at]

    def step(real: Callable[..., Any]) -> Callable[..., Any]:
        def crash(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise Crash
            result = real(*args, **kwargs)
            left[0] -= 1
            if left[0] == 0:
                raise Crash
            return result

        return crash

    for owner, names in {os: ("rename", "replace", "link"), shutil: ("rmtree",), Path: ("unlink", "mkdir")}.items():
        for name in names:
            patch.setattr(owner, name, step(getattr(owner, name)))
    patch.setattr(Store, "write", step(Store.write))
    patch.setattr(_journal, "allocate", step(_journal.allocate))
    patch.setattr(_places, "write", step(_places.write))


CHANGES: dict[str, Callable[[Path], Scan]] = {
    "first": scan,
    "rows": lambda source: scan(raw(source, 0, aaa=b"\x63\x63", clip001=b"\x63\x63")),
    "a list": lambda source: scan(source, l=b"list"),
}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("change", CHANGES)
def test_a_crash_at_any_step_leaves_a_whole_cache_or_none(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = raw(Path("raw"), 3, bad=b"unusable x")
    old = clean(source, scan(source))
    result = CHANGES[change](source)
    new = clean(source, result)
    for at in range(1, 200):
        shutil.rmtree("data", ignore_errors=True)
        if change != "first":
            _lay_down(old)
        try:
            with monkeypatch.context() as patch:
                crashing(patch, at)
                prepare(source, result)
        except Crash:
            if FOLDER.exists():
                open_cache(FOLDER)
                assert content(FOLDER) in (old, new)
            prepare(source, result)
            assert content(FOLDER) == new
            assert beside() == [".lock", FOLDER.name]
        else:
            assert at > 20
            return
    pytest.fail("it never got to the end")


def _lay_down(files: dict[str, bytes]) -> None:
    for name, text in files.items():
        (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / name).write_bytes(text)


@pytest.mark.usefixtures("here")
def test_work_begun_for_other_clips_gives_its_rows() -> None:
    source = raw(Path("raw"), 4)
    _interrupt(source, 3)
    (source / "aaa").write_bytes(b"\x01\x02")
    assert prepare(source).decoded == 2  # aaa and clip003
    assert content(FOLDER) == clean(source, scan(source))
    assert beside() == [".lock", FOLDER.name]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("damage", ["row", "array", "journal", "cut line", "header"])
def test_damaged_work_is_not_taken_over(damage: str) -> None:
    source = raw(Path("raw"), 4)
    part = _interrupt(source, 3)
    journal = (part / "journal.jsonl").read_bytes()
    if damage == "row":
        with (part / "video.npy").open("r+b") as file:
            file.seek(128 + 24)  # the second row
            file.write(b"\xff")
    elif damage == "array":
        (part / "video.npy").unlink()
    else:
        cut = {"journal": b"", "cut line": journal[:-9], "header": journal[:7]}[damage]
        (part / "journal.jsonl").write_bytes(cut)
    expected = {"row": 2, "array": 4, "journal": 4, "cut line": 2, "header": 4}[damage]
    assert prepare(source).decoded == expected
    assert content(FOLDER) == clean(source, scan(source))
    assert beside() == [".lock", FOLDER.name]


def _interrupt(source: Path, rows: int) -> Path:
    """Ctrl-C after so many rows; the folder that is left."""

    def interrupted(done: int, _: int) -> None:
        if done == rows:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(source, progress=interrupted)
    assert beside() == [".lock", f"{FOLDER.name}.part"]
    return FOLDER.with_name(f"{FOLDER.name}.part")


# Workers


def test_a_clip_that_ends_its_worker_costs_that_clip() -> None:
    source = raw(Path("raw"), 5, crash=b"crash x", exit=b"exit x", once=b"once x")
    made = prepare(source, jobs=2)
    assert made.quarantine == [
        ("crash", "decoding it ended the worker process, 2 times: SIGKILL (out of memory?)"),
        ("exit", "decoding it ended the worker process, 2 times: exit code 4"),
    ]
    assert made.kept == 6
    assert '"crash","raw","crash",7,' in (FOLDER / "sources.csv").read_text()


def test_ctrl_c_leaves_work_to_go_on_with_and_no_workers() -> None:
    source, before, workers = raw(Path("raw"), 6), _children(), set()

    def interrupted(done: int, _: int) -> None:
        workers.update(_children() - before)
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(source, jobs=2, progress=interrupted)
    assert len(workers) == 2
    assert not workers & _children()
    assert prepare(source, jobs=2).decoded == 3
    assert content(FOLDER)["video.npy"][128:152] == bytes(range(24))


def _children() -> set[str]:
    return {child for path in Path("/proc/self/task").glob("*/children") for child in path.read_text().split()}


def test_a_worker_that_cannot_start_is_an_error_with_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    source = raw(Path("raw"), 1)
    with monkeypatch.context() as patch:
        patch.setattr(_workers.pickle, "dumps", lambda _: b"cno.such.module\nx\n.")
        said = r"bytes: mcr_bench\.tests\.support\.media\.raw_clips\.decode cannot be loaded .*No module named 'no'"
        with pytest.raises(UserError, match=said):
            prepare(source)
    monkeypatch.setattr(_workers, "START", "import sys; sys.exit(7)")
    with pytest.raises(UserError, match=r"ended while it started: exit code 7\. Free memory, or use fewer --jobs"):
        prepare(source)


def test_a_way_to_decode_that_no_worker_can_find_is_an_error() -> None:
    source = raw(Path("raw"), 1)
    result = replace(raw_clips.recipe(), decode=lambda *_: {})
    with pytest.raises(UserError, match=r"bytes: .*<lambda> cannot be loaded in a worker process \(.*pickle"):
        prepare_clips("bytes", result, scan(source), Preparation(source), FOLDER)


def test_workers_do_not_import_torch() -> None:
    source = raw(Path("raw"), 2, torch=b"torch x")
    assert prepare(source).quarantine == [("torch", "torch is not imported")]


# Scripts


def _script(name: str) -> ModuleType:
    path = Path(__file__).parents[2] / f"support/media/{name}.py"
    spec = importlib.util.spec_from_file_location(f"mcr_bench.tests.support.media.{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_killed_at_random_it_ends_as_if_never_killed(tmp_path: Path) -> None:
    result = _script("kill_prepare").measure(tmp_path, kills=3, clips=30, seconds=0.03, seed=1)
    assert result.equal
    assert result.kills == 3


def test_memory_does_not_grow_with_the_clips(tmp_path: Path) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    for folder in (few, many):
        folder.mkdir()
    measure = _script("prepare_memory").measure
    small, large = measure(few, clips=100, jobs=1), measure(many, clips=1500, jobs=1)
    # 1,400 clips more are 60 MiB of rows
    assert large.together < small.together + 15
    assert large.together < 200
