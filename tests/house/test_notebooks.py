"""The notebooks of examples/ run from first to last cell and hold no outputs; loops of libraries are balanced."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from mcr_bench.tests.support.house.cells import cells_of, notebook
from mcr_bench.tests.support.house.examples import ROOT

EXAMPLES = ROOT / "examples"
NAMES = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs(name: str, tmp_path: Path) -> None:
    with notebook(tmp_path) as run:
        for cell in cells_of(f"examples/{name}"):
            run(cell)


def test_notebooks_have_text_code_and_no_outputs() -> None:
    assert len(NAMES) == 3
    for name in NAMES:
        made = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))
        code = [cell for cell in made["cells"] if cell["cell_type"] == "code"]
        assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
        assert made["cells"][0]["cell_type"] == "markdown"
        assert "language_info" in made["metadata"]
        for cell in cells_of(f"examples/{name}"):
            if not cell.startswith("!"):
                compile(cell, name, "exec")


def module(name: str) -> ModuleType:
    """An example as a module, without its main part."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.mark.filterwarnings("ignore")  # of the libraries
@pytest.mark.parametrize(
    ("name", "library"),
    [("in_accelerate", "accelerate"), ("in_lightning", "lightning")],
)
def test_a_balancer_works_in_the_loop_of_a_library(name: str, library: str) -> None:
    pytest.importorskip(library, reason="the extra `loops` is not installed")
    means = module(name).main(epochs=2)
    assert 0 < means["coefficient/audio"] < 1  # the audio is ahead
    assert means["coefficient/video"] == 1
    assert 0 < means["loss/fused"] < 2
