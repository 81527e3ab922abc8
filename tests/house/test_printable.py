"""Text from files reaches the terminal without control characters, whatever file, name, list or key it comes from."""

import ast
import io
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.progress import Progress
from rich.text import Text
from typer.testing import CliRunner

import mcr_bench
from mcr_bench.bench.analysis.table import Table
from mcr_bench.bench.commands.console import SafeConsole
from mcr_bench.bench.printable import in_line, mask_addresses, printable
from mcr_bench.bench.report.export import write_tables
from mcr_bench.bench.report.fitted import grid_text
from mcr_bench.bench.report.html.markup import left_out
from mcr_bench.cli import app
from mcr_bench.tests.support.media import official_trees
from mcr_bench.tests.support.media.media_files import write_clip

ROOT = Path(mcr_bench.__file__).parent
MAKE = {"bench/perf/command.py"}  # `make perf`
ALLOWED = {"bench/commands/output.py", "bench/commands/console.py"} | MAKE
EVIL = "a\x1b[2J\x1b]0;t\x07\rb\u202e\u2066c\x9b31m\x7f\x08"
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain · ü € 表\ttab\nline", "plain · ü € 表\ttab\nline"),
        ("\x1b[31mred\x1b[0m", "\\u001b[31mred\\u001b[0m"),
        ("bell\x07 back\x08 return\r\n", "bell\\u0007 back\\u0008 return\\u000d\n"),
        ("\x9b2J\x85\x7f\x00", "\\u009b2J\\u0085\\u007f\\u0000"),
        ("\u202egpj.exe\u202c \u2066x\u2069", "\\u202egpj.exe\\u202c \\u2066x\\u2069"),
        ("line\u2028break \ud800 \udc80 \ufeff", "line\\u2028break \\ud800 \\udc80 \\ufeff"),
        ("\U000e0041", "\\udb40\\udc41"),
        ("family 👩\u200d👧", "family 👩\u200d👧"),
    ],
)
def test_control_characters_are_shown_as_json_writes_them(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown
    assert in_line(text) == shown.replace("\t", "\\u0009").replace("\n", "\\u000a")
    for sign in text:
        if printable(sign) != sign:
            assert json.loads(f'"{printable(sign)}"') == sign


def test_json_stays_json() -> None:
    content = {"id": EVIL, "\x7f": "\u202e"}
    assert json.loads(printable(json.dumps(content, indent=2))) == content
    assert not HIDDEN.search(printable(json.dumps(content)))


@pytest.mark.parametrize("text", ["?s\u0131g=abcdef", "&s\u0130g=abcdef", " ap\u0131_key=abcdef"])
def test_letters_that_a_pattern_takes_for_others_are_masked_too(text: str) -> None:
    assert "abcdef" not in mask_addresses(text)


def test_all_output_goes_through_the_two_doors() -> None:
    """`say` and `SafeConsole`: no other module prints, echoes, or makes a console of its own."""
    paths = [*ROOT.glob("cli.py"), *ROOT.glob("bench/**/*.py"), *ROOT.glob("datasets/**/*.py")]
    seen = {path.relative_to(ROOT).as_posix(): written(path) for path in paths}
    assert seen.keys() >= ALLOWED
    assert {place: calls for place, calls in seen.items() if calls and place not in ALLOWED} == {}


def written(path: Path) -> list[str]:
    """The calls in a file that write to the terminal."""
    calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    doors = ("print", "typer.echo", "typer.secho", "click.echo", "Console")
    return [call for call in calls if call in doors or call.startswith(("sys.stdout.write", "sys.stderr.write"))]


def test_the_console_shows_what_comes_from_files_and_keeps_its_own_colours() -> None:
    out = io.StringIO()
    console = SafeConsole(file=out, force_terminal=True, color_system="standard", width=200)
    console.print(Text(EVIL, style="bold"), soft_wrap=True)
    console.print(EVIL, markup=False, highlight=False, soft_wrap=True)
    with Progress(console=console) as shown:
        shown.add_task(EVIL, total=2)
    text = out.getvalue()  # rich itself drops bells, backspaces and carriage returns
    assert text.startswith("\x1b[1ma\\u001b[2J\\u001b]0;tb\\u202e\\u2066c\\u009b31m\\u007f\x1b[0m\n")
    own = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", text).replace("\r", "")
    assert not HIDDEN.search(own)
    assert own.count("\\u001b[2J") >= 3


def test_tables_and_pages_show_control_characters_and_stay_aligned(tmp_path: Path) -> None:
    table = Table(EVIL, ("method", EVIL), (0, 4), [(EVIL, 0.5), ("b", None)], [EVIL])
    for path in write_tables([table], tmp_path):
        held = path.read_text()
        assert not HIDDEN.search(held), path.suffix
        assert "u001b" in held, path.suffix
    assert left_out("part", EVIL) == f'<p class="left-out">left out: part: {printable(EVIL)}</p>'
    _, first, second = grid_text([{"name": EVIL, "n": 1}, {"name": "b", "n": 2}]).splitlines()
    assert first.rindex("1") == second.rindex("2") == len(first) - 1


def array_file(folder: Path, **more: Any) -> Path:
    """An array file whose groups, ids and class names are evil; a class is absent from the test part, which is told."""
    n = 60
    split = np.array(["train", "val", "test"])[np.arange(n) // 2 % 3]
    draws = np.random.default_rng(0)
    held = {
        "x_a": draws.normal(size=(n, 3)).astype("f4"),
        "y": np.where(split == "test", 1, np.arange(n) % 2),
        "split": split,
        "group": np.array([f"{EVIL}{part}" for part in split]),
        "id": np.array([f"{EVIL}{k}" for k in range(n)]),
        "class_names": np.array([EVIL, "b"]),
    }
    np.savez(folder / "mine.npz", **held, **more)  # type: ignore[arg-type]
    return folder / "mine.npz"


def names(folder: Path) -> list[str]:
    return ["run", "--methods", "joint", "--dataset", str(array_file(folder)), "--plan"]


def modality(folder: Path) -> list[str]:
    return ["describe", str(array_file(folder, **{f"x_{EVIL}": np.zeros((60, 2))}))]


def split(folder: Path) -> list[str]:
    np.savez(folder / "mine.npz", x_a=np.zeros((4, 2)), y=np.arange(4) % 2, split=np.array([EVIL] * 4))
    return ["run", "--methods", "joint", "--dataset", str(folder / "mine.npz"), "--plan"]


def file_name(folder: Path) -> list[str]:
    (folder / f"{EVIL}.npz").write_bytes(b"no array")
    return ["run", "--methods", "joint", "--dataset", str(folder / f"{EVIL}.npz"), "--plan"]


def prepare(name: str, source: Path) -> list[str]:
    return ["data", "prepare", name, "--source", str(source), "--jobs", "1", "--data-root", str(source.parent / "d")]


def pickle_keys(folder: Path) -> list[str]:
    (folder / "raw").mkdir()
    (folder / "raw/mosi_data.pkl").write_bytes(pickle.dumps({EVIL: {}, "train": {}}))
    return prepare("mosi", folder / "raw")


def list_line(folder: Path) -> list[str]:
    (folder / "raw/AVE").mkdir(parents=True)
    for name in ("Annotations", "trainSet", "valSet", "testSet"):
        (folder / f"raw/{name}.txt").write_text(f"{EVIL}&x&good&0&1\n")
    return prepare("ave", folder / "raw")


def clip_names(folder: Path) -> list[str]:
    source = official_trees.something_something(folder / "raw")
    for name in (f"{EVIL}.webm", f"x.{EVIL}", "e\nerror: forged.webm"):
        (source / "20bn-something-something-v2" / name).touch()
    (source / f"20bn-something-something-v2/{EVIL}").mkdir()
    (source / f"20bn-something-something-v2/{EVIL}/1.jpg").touch()
    labels = json.loads((source / "labels/labels.json").read_text())
    (source / "labels/labels.json").write_text(json.dumps({**labels, EVIL: str(len(labels))}))
    write_clip(source / "20bn-something-something-v2/1.webm", seconds=0.2)
    return [*prepare("something-something", source), "--set", "dataset.frame_size=16", "--set", "dataset.frames=2"]


CASES: dict[str, tuple[Callable[[Path], list[str]], int]] = {
    "names in an array file": (names, 0),
    "a modality of an array file": (modality, 2),
    "a split name": (split, 2),
    "a file name": (file_name, 2),
    "keys of a pickle": (pickle_keys, 2),
    "a line of a list": (list_line, 2),
    "names of clips": (clip_names, 0),
}


@pytest.mark.parametrize("name", CASES)
def test_whatever_a_file_holds(tmp_path: Path, name: str) -> None:
    make, code = CASES[name]
    told = CliRunner().invoke(app, make(tmp_path))
    assert told.exit_code == code, told.output
    assert not HIDDEN.search(told.output)
    assert "\\u001b[2J" in told.output
    assert "\nerror: forged" not in told.output
