"""A package whose entry points lead nowhere: what it breaks is told by name, and everything else is there."""

import importlib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from mcr_bench.bench.catalog import nets, registry
from mcr_bench.bench.errors import UserError
from mcr_bench.cli import app

MODULES = {
    "broken_lacking.py": "import no_such_library\n",
    "broken_syntax.py": "def broken(:\n",
    "broken_ending.py": "raise SystemExit(3)\n",
    "broken_other.py": "Z = 3\n",
    "works_here.py": (
        "from dataclasses import dataclass\n"
        "from typing import ClassVar\n"
        "from mcr_bench.datasets.arrays import Arrays\n\n\n"
        "@dataclass\n"
        "class Eager(Arrays):\n"
        "    name: ClassVar[str] = 'a-foreign'\n"
        "    suffixes: ClassVar[tuple[str, ...]] = ('.npz', '.theirs')\n"
    ),
}
BROKEN = {
    "bad-module": ("no_such_package.nope:Z", "ModuleNotFoundError: No module named 'no_such_package'"),
    "bad-need": ("broken_lacking:Z", "ModuleNotFoundError: No module named 'no_such_library'"),
    "bad-syntax": ("broken_syntax:Z", "SyntaxError"),
    "bad-end": ("broken_ending:Z", "SystemExit: 3"),
    "bad-name": ("works_here:Nope", "AttributeError"),
}
KINDS = {"methods": registry.method, "datasets": registry.dataset, "encoders": nets.encoder, "fusions": nets.fusion}


@pytest.fixture(scope="module", autouse=True)
def _package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder of installed packages in which one has broken entry points of every kind, and one that works."""
    folder = tmp_path_factory.mktemp("site-packages")
    for name, text in MODULES.items():
        (folder / name).write_text(text)
    information = folder / "broken-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, (value, _) in BROKEN.items()] + ["bad-thing = broken_other:Z"]
    groups = ["\n".join([f"[mcr_bench.{kind}]", *lines]) for kind in KINDS]
    groups[1] += "\na-foreign = works_here:Eager"
    (information / "entry_points.txt").write_text("\n".join(groups) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setattr(registry, "entry_points", lambda group: entry_points(group=group))  # the registry remembers
        importlib.invalidate_caches()
        yield


@pytest.fixture
def data(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    y = np.arange(60) % 2
    split = np.repeat(["train", "val", "test"], 20)
    np.savez(tmp_path / "mine.npz", x_a=draw.normal(size=(60, 3)), x_b=draw.normal(size=(60, 2)), y=y, split=split)
    return tmp_path / "mine.npz"


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_name_says_where_it_leads_and_why_it_fails(kind: str, name: str) -> None:
    value, why = BROKEN[name]
    with pytest.raises(UserError) as error:
        KINDS[kind](name)
    assert f"'{name}' of {value} cannot be imported: " in str(error.value)
    assert why in str(error.value)
    assert "Update or remove its package." in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_that_leads_to_something_else_says_so(kind: str) -> None:
    with pytest.raises(UserError, match=r"'bad-thing' is .*not a (Method|Dataset|torch\.nn\.Module)"):
        KINDS[kind]("bad-thing")


@pytest.mark.parametrize(("kind", "still"), zip(KINDS, ["joint", "synthetic", "mlp", "concat"], strict=True))
def test_the_list_has_all_others_and_names_the_broken_ones(kind: str, still: str) -> None:
    done = call("list", kind)
    assert done.exit_code == 0, done.output
    assert still in done.stdout
    assert "bad-" not in done.stdout
    told = [line for line in done.stderr.splitlines() if line.startswith("left out: bad-")]
    assert sorted(line.split(":")[1].strip() for line in told) == sorted([*BROKEN, "bad-thing"])
    assert "no_such_package.nope:Z cannot be imported: ModuleNotFoundError" in done.stderr


def test_the_presets_of_the_others_are_listed() -> None:
    done = call("list", "presets")
    assert (done.exit_code, "synthetic" in done.stdout, "left out: bad-module" in done.stderr) == (0, True, True)


def test_a_file_of_data_needs_no_package_of_somebody_else(data: Path) -> None:
    for words in (["describe"], ["data", "verify"], ["run", "--plan", "--methods", "joint", "--dataset"]):
        done = call(*words, data)
        assert done.exit_code == 0, done.output
    assert registry.dataset(str(data)).name == "arrays"
    assert registry.dataset("other.theirs").name == "a-foreign"
    with pytest.raises(UserError, match=r"no dataset adapter reads 'data\.odd'[^!]*left out: bad-module: 'bad-"):
        registry.dataset("data.odd")


def test_selections_and_suggestions_leave_the_broken_ones_out(data: Path) -> None:
    plan = ["run", "--plan", "--dataset", data, "--seeds", "1"]
    for chosen in ("all", "table1"):
        assert (done := call(*plan, "--methods", chosen)).exit_code == 0, done.output
        assert "left out: bad-module: 'bad-module' of" in done.stdout
    assert "left out" not in call(*plan, "--methods", "joint").stdout
    for words, says in (
        (["--methods", "jiont"], "Did you mean joint"),
        (["--methods", "joint", "--set", "ogm-ge.alhpa=1", "--set", "alhpa=1"], "unknown setting"),
        (["--methods", "bad-module"], "'bad-module' of no_such_package.nope:Z cannot be imported"),
    ):
        done = call(*plan, *words)
        assert (done.exit_code, says in done.stderr) == (2, True), done.output
    done = call("run", "--plan", "--methods", "joint", "--dataset", "bad-module")
    assert (done.exit_code, "cannot be imported" in done.stderr) == (2, True)
