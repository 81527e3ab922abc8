"""The code of every tutorial runs as it stands, from the first block to the last."""

import re
from pathlib import Path

import pytest

from mcr_bench.tests.support.house.cells import as_script, command, notebook
from mcr_bench.tests.support.house.examples import ROOT

PAGES = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
IN_EVERY_CHANGE = "own-method"  # the others take a quarter of a minute each
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def parameters() -> list[object]:
    marks = {page: () if page.stem == IN_EVERY_CHANGE else pytest.mark.slow for page in PAGES}
    return [pytest.param(page, marks=mark, id=page.stem) for page, mark in marks.items()]


@pytest.mark.parametrize("page", parameters())
def test_every_block_of_a_tutorial_runs(page: Path, tmp_path: Path) -> None:
    """As cells, as cells that run once more with all that was made after them, and as one script."""
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert len(blocks) >= 3
    with notebook(tmp_path) as run:
        for language, block in blocks:
            run(block) if language == "python" else command(block)
        own = {path.name for path in (tmp_path / "results" / "own").glob("*.py")}
        python = [block for language, block in blocks if language == "python"]
        for block in python:
            run(block)
        as_script("\n".join(python), tmp_path)
    assert own == {path.name for path in (tmp_path / "results" / "own").glob("*.py")}  # so nothing was trained again


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_of_a_tutorial_is_python(page: Path) -> None:
    """Also where only the slow tests run it."""
    for language, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            compile(block, page.name, "exec")
