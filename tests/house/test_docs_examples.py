"""The examples of methods, nets, heads, datasets and figures in the documentation run, in an empty folder."""

import json
import re
import sys
from dataclasses import fields
from inspect import isfunction, signature
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from matplotlib.figure import Figure

import mcr_bench
from mcr_bench.bench.figures import catalog
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.methods.base import Method
from mcr_bench.tests.support.house.examples import blocks, run
from mcr_bench.tests.support.records.figure_rows import compared, line

DOCS = Path(mcr_bench.__file__).parent / "docs"


@pytest.mark.slow  # a minute
def test_nets_and_heads(tmp_path: Path) -> None:
    for name, block in zip(("my_net.py", "my_head.py"), blocks("docs/nets.md", "python"), strict=True):
        (tmp_path / name).write_text(block, encoding="utf-8")
    y = np.arange(90) % 3
    draw = np.random.default_rng(0)
    np.savez(
        tmp_path / "mine.npz",
        y=y,
        split=np.repeat(["train", "val", "test"], 30),
        x_voice=draw.normal(size=(90, 16)) + y[:, None],
        x_face=draw.normal(size=(90, 20, 4)) + 0.3 * y[:, None, None],
    )
    told = run("\n".join(blocks("docs/nets.md", "sh")), tmp_path)
    assert "encoder: ./my_net.py:Net" in told
    assert "encoder.layers = 1    (whole number; origin: its constructor)" in told
    assert "mcr " in told


@pytest.mark.slow  # half a minute
def test_a_dataset_in_a_file(tmp_path: Path) -> None:
    (script,) = [block for block in blocks("docs/data.md", "sh") if "my_set.py" in block]
    told = run(script, tmp_path)
    assert "dataset: rings" in told
    assert "fold 1: train 120, validation 60, test 120" in told
    assert "rings · place + sound · protocol drawn" in told


@pytest.mark.slow  # half a minute
def test_a_method_and_a_figure_from_outside(tmp_path: Path) -> None:
    (method,) = blocks("docs/methods.md", "python")
    (tmp_path / "my_method.py").write_text(method, encoding="utf-8")
    told = run("\n".join(blocks("docs/methods.md", "sh") + blocks("docs/figures.md", "sh")), tmp_path)
    assert "method: behind" in told
    runs = {run["label"]: run for run in json.loads((tmp_path / "runs.json").read_text(encoding="utf-8"))}
    assert len(runs) == 3
    late = runs["behind [epochs=2 behind.warmup=1]"]
    early = runs["behind [epochs=2 behind.warmup=0]"]
    shares = [[run["metrics"][f"train/coefficient/{m}"] for m in ("m1", "m2")] for run in (late, early)]
    assert [sum(both) for both in shares] == pytest.approx([2, 2])
    assert all(first != second for first, second in shares)  # both are past their warm-up in the last epoch
    assert late["settings"]["behind.warmup"] == 1
    assert (tmp_path / "epochs.png").stat().st_size > 0


def public(cls: type) -> set[str]:
    """The public members of a class: its fields, and what it defines itself."""
    return {name for name in {*vars(cls), *(field.name for field in fields(cls))} if name[0] != "_"}


def named(page: str, title: str) -> set[str]:
    """The words in code in the first column of the table below a heading."""
    text = (DOCS / page).read_text(encoding="utf-8").split(f"## {title}", 1)[1].split("\n## ", 1)[0]
    cells = re.findall(r"^\| (.*?) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)", cell)}


def test_every_hook_output_and_member_is_in_the_page_on_methods() -> None:
    hooks = {name for name, value in vars(Method).items() if name[0] != "_" and isfunction(value)} | {"variants"}
    assert named("methods.md", "The hooks") == hooks
    assert named("methods.md", "What is in `Outputs`") == public(Outputs)
    assert named("methods.md", "What is in `self.fit`") == public(Fit)
    assert named("methods.md", "What a method declares") == (public(Method) | {"name", "reference"}) - hooks


def test_hooks_have_the_parameters_of_the_page() -> None:
    text = (DOCS / "methods.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)\((?:self|cls)(?:, )?(.*?)\)`", text, re.MULTILINE))
    own = {name: list(signature(getattr(Method(), name)).parameters) for name in told}
    assert {name: [p for p in one.split(", ") if p] for name, one in told.items()} == own


def edited(source: str, diff: str) -> str:
    """The source after the hunks of a diff, each of which must fit one place."""
    for hunk in re.split(r"^@@.*\n", diff, flags=re.MULTILINE):
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] != "+")
        assert source.count(old) == 1, old
        source = source.replace(old, "".join(line[1:] for line in lines if line[0] != "-"))
    return source


def module(name: str, source: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module with this source, which can be imported until the test ends."""
    made = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, made)
    exec(compile(source, name, "exec"), vars(made))
    return made


def test_a_figure_joins_the_catalog_by_the_edits_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    (figure,), (diff,) = blocks("docs/figures.md", "python"), blocks("docs/figures.md", "diff")
    module(f"{catalog.__package__}.epochs", figure, monkeypatch)
    source = Path(catalog.__file__).read_text(encoding="utf-8")
    after = module("catalog_after", edited(source, diff), monkeypatch)
    found = compared(
        line("joint", [0.5, 0.6], metrics={"best_epoch": 2.0}), line("other", [0.7], metrics={"best_epoch": 4.0})
    )
    (drawn,) = after.all_figures([found], after.Sources("joint"), ["epochs"])
    assert isinstance(drawn.result, Figure)
    (axes,) = drawn.result.axes
    assert [list(one.get_xdata()) for one in axes.lines] == [[2, 2], [4]]
    (bare,) = after.all_figures([compared(line("joint", [0.5]))], after.Sources("joint"), ["epochs"])
    assert bare.result == "no run has a best epoch"
