"""Files are there whole or not at all."""

import ast
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import mcr_bench
from mcr_bench.bench.core.files import move_whole, remove_partials, whole_file, write_whole


def test_a_file_is_written_with_its_folder_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_whole(path, "é\n")
    assert path.read_bytes() == "é\n".encode()
    write_whole(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path, linked: bool) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    path = tmp_path / "link" if linked else pipe
    if linked:
        path.symlink_to(pipe)
    before = sorted(tmp_path.iterdir())
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_whole(path, "through")
        assert os.read(reading, 100) == b"through"
    finally:
        os.close(reading)
    assert sorted(tmp_path.iterdir()) == before
    assert pipe.is_fifo()
    assert path.is_symlink() == linked


@pytest.mark.parametrize("linked", [False, True])
def test_stdout_that_is_redirected_to_a_file_gets_the_content(tmp_path: Path, linked: bool) -> None:
    link = tmp_path / "stdout"
    link.symlink_to("/proc/self/fd/1")
    code = "import sys; from mcr_bench.bench.core.files import write_whole; from pathlib import Path; "
    code += "write_whole(Path(sys.argv[1]), 'through')"
    (tmp_path / "out").write_text("before ")
    with (tmp_path / "out").open("a") as out:
        place = link if linked else Path("/proc/self/fd/1")
        subprocess.run([sys.executable, "-c", code, str(place)], check=True, stdout=out)
    assert (tmp_path / "out").read_text() == "before through"
    assert link.is_symlink()


def test_a_write_that_fails_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, "before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "after")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "before"


OLD, NEW = b"old" * 100_000, b"new" * 90_000
STEPS = ("before it", "fsync", "replace", "after it")


def killed_at(step: str, path: Path) -> None:
    """A process of its own that writes NEW to `path` and is killed at the step."""

    def end(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def write() -> None:
        if step in ("fsync", "replace"):
            setattr(os, step, end)
        with whole_file(path) as file:
            file.write(NEW[:100_000])
            if step == "before it":
                end()
            file.write(NEW[100_000:])
        end()

    assert os.waitstatus_to_exitcode(os.waitpid(forked(write), 0)[1]) == -signal.SIGKILL


def forked(work: Callable[[], None]) -> int:
    """The process that does the work; it never comes back into the tests."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(1)
    return child


@pytest.mark.parametrize("old", [OLD, None])
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_leaves_the_old_file_or_the_new_one(step: str, old: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    if old is not None:
        path.write_bytes(old)
    killed_at(step, path)
    assert (path.read_bytes() if path.exists() else None) == (NEW if step == "after it" else old)
    write_whole(path, NEW)
    assert path.read_bytes() == NEW


def for_ever(path: Path) -> None:
    while True:
        write_whole(path, NEW)
        write_whole(path, OLD)


def test_kills_at_random_moments_leave_whole_files(tmp_path: Path) -> None:
    path, draw = tmp_path / "a.bin", random.Random(0)
    write_whole(path, OLD)
    for _ in range(20):
        child = forked(partial(for_ever, path))
        time.sleep(draw.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert path.read_bytes() in (OLD, NEW)


def test_the_content_is_on_the_disk_before_the_name_leads_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def noted(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def step(*given: object) -> object:
            steps.append(name)
            return real(*given)

        return step

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    write_whole(tmp_path / "a.txt", "text")
    assert steps == ["fsync", "replace", "fsync"]  # the content, the name, the folder that holds the name


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fill() -> None:
        with whole_file(tmp_path / "a.bin") as file:
            file.write(b"half")
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_what_others_have_made_takes_its_place(tmp_path: Path) -> None:
    (tmp_path / "made").write_text("new")
    (tmp_path / "file").write_text("old")
    move_whole(tmp_path / "made", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "new"
    (tmp_path / "folder").mkdir()
    move_whole(tmp_path / "folder", tmp_path / "place")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "place"]


def test_partials_are_removed_by_the_name_of_their_file(tmp_path: Path) -> None:
    for name in ("a[1].77.partial", ".a[1].pt.77.partial", "a[1].pt", "b.77.partial", ".a1.pt.77.partial"):
        (tmp_path / name).touch()
    remove_partials(tmp_path, "a[1]")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a1.pt.77.partial", "a[1].pt", "b.77.partial"]


ROOT = Path(mcr_bench.__file__).parent
WRITER = "files.py"
SOURCES = [path for room in ("bench", "methods", "datasets") for path in (ROOT / room).rglob("*.py")]
MOVERS = {"rename", "renames", "move", "NamedTemporaryFile", "mkstemp"}  # `replace` is a word of other things too


def moves(source: str) -> list[str]:
    """The calls in a source that put one file in the place of another."""
    nodes = list(ast.walk(ast.parse(source)))
    taken = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module in ("os", "shutil", "tempfile")]
    names = [alias.name for node in taken for alias in node.names if alias.name in {*MOVERS, "replace"}]
    return names + [ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call) and _moves(node)]


def _moves(call: ast.Call) -> bool:
    owner, _, name = ast.unparse(call.func).rpartition(".")
    if name == "replace":  # os.replace(a, b), path.replace(b); text.replace(a, b) and inputs.replace({...}) are others
        whole = call.args and not isinstance(call.args[0], ast.Dict | ast.DictComp)
        return owner == "os" or (bool(owner) and owner != "dataclasses" and len(call.args) == 1 and bool(whole))
    return name in MOVERS


@pytest.mark.parametrize(
    ("source", "is_one"),
    [
        ("os.replace(a, b)", True),
        ("os.rename(a, b)", True),
        ("shutil.move(a, b)", True),
        ("path.replace(other)", True),
        ("Path('a').rename('b')", True),
        ("tempfile.NamedTemporaryFile(delete=False)", True),
        ("from os import replace", True),
        ("text.replace('a', 'b')", False),
        ("dataclasses.replace(row, a=1)", False),
        ("replace(row, a=1)", False),
        ("inputs.replace({m: x})", False),
    ],
)
def test_calls_that_replace_files_are_told_from_others(source: str, is_one: bool) -> None:
    assert bool(moves(source)) == is_one


def test_one_module_puts_files_in_place() -> None:
    others = {str(path.relative_to(ROOT)): moves(path.read_text(encoding="utf-8")) for path in SOURCES}
    writers = {name: calls for name, calls in others.items() if calls}
    assert [Path(name).name for name in writers] == [WRITER], writers
