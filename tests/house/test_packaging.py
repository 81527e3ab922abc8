"""Packaging: our `datasets` folder deceives no other library, and published numbers ship with the package."""

import csv
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

import mcr_bench

ROOT = Path(mcr_bench.__file__).parent

# How libraries look for the package of that name: a module spec first, then the version of the distribution.
PROBE = """
import importlib.metadata, importlib.util
found = importlib.util.find_spec("datasets") is not None
try:
    importlib.metadata.version("datasets")
    installed = True
except importlib.metadata.PackageNotFoundError:
    installed = False
print(found, found and installed)
"""


def test_the_datasets_folder_passes_for_no_installed_library() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], cwd=ROOT, capture_output=True, text=True, check=True)
    found, believed = done.stdout.split()
    assert found == "True", "the test means nothing unless the folder is on the path"
    assert believed == "False"


def test_outside_the_checkout_there_is_no_such_module(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "False"


def test_published_numbers_are_package_data() -> None:
    folder = resources.files("mcr_bench.results") / "published"
    tables = [path for path in folder.iterdir() if path.name.endswith(".csv")]
    assert len(tables) >= 3
    for table in tables:
        rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
        assert rows
        assert {"source", "arxiv_id", "dataset", "method", "metric", "mean"} <= set(rows[0])


@pytest.mark.parametrize(
    "name",
    ["torch", "numpy", "pandas", "scipy", "mlflow", "typer", "rich", "filelock", "pyarrow", "jinja2", "setuptools"],
)
def test_every_dependency_is_pinned_for_development(name: str) -> None:
    pinned = [line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    assert name in pinned


def test_bounds_exclude_releases_that_run_code_of_others_and_say_why() -> None:
    """The first releases that are mended; the comment on the line, or on the line above, names the fault."""
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    least = ["torch>=2.10", "pyarrow>=14.0.1", "jinja2>=3.1.6", "filelock>=3.20.3", "h5py>=3.16", "transformers>=5.5"]
    least += ["mlflow>=3.5", "opencv-python-headless>=4.9"]
    for bound in least:
        at = next(number for number, line in enumerate(lines) if f'"{bound}"' in line)
        assert "CVE-" in lines[at] + lines[at - 1], bound


def test_every_bound_has_a_reason() -> None:
    """Each line of a dependency, or the line above, has a comment."""
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    start = lines.index("dependencies = [")
    for at in range(start + 1, lines.index("]", start)):
        assert "#" in lines[at] or "#" in lines[at - 1], lines[at]
