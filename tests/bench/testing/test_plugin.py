"""The pytest plug-in, outside of this repository: one test for each property, and nothing without the option."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mcr_bench

ROOT = Path(mcr_bench.__file__).parent
PLUGIN = "mcr_bench.bench.testing.plugin"
RUN = f"""
import sys, pytest
from importlib.metadata import entry_points
given = [] if "mcr_bench" in entry_points(group="pytest11").names else ["-p", "{PLUGIN}"]
code = pytest.main([*given, "-p", "no:cacheprovider", *sys.argv[1:]])
print("torch imported:", "torch" in sys.modules)
sys.exit(code)
"""
OURS = "def test_of_the_user():\n    assert True\n"
METHOD = '''"""A method without a card."""
from mcr_bench.methods.base import Method


class Mine(Method):
    name = "mine"
'''


def pytest_in(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN, *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "test_user.py").write_text(OURS)
    (tmp_path / "mine.py").write_text(METHOD)
    return tmp_path


def test_one_test_for_each_property(project: Path) -> None:
    done = pytest_in(project, "-v", "--mcr-bench", "./mine.py", "-k", "complete-card or resume or neutral")
    assert done.returncode == 1, done.stdout
    assert "mine::complete-card FAILED" in done.stdout
    assert "mine::resume PASSED" in done.stdout
    assert "mine::neutral SKIPPED" in done.stdout
    assert "the card lacks a docstring" in done.stdout
    assert "hint: Declare them" in done.stdout
    assert "test_of_the_user" not in done.stdout


def test_without_the_option_it_costs_nothing(project: Path) -> None:
    done = pytest_in(project, "-q")
    assert done.returncode == 0
    assert "1 passed" in done.stdout
    assert "torch imported: False" in done.stdout


def test_paths_are_collected_too_and_an_unknown_name_is_wrong_usage(project: Path) -> None:
    both = pytest_in(project, "-q", "--collect-only", "--mcr-bench", "./mine.py", "test_user.py")
    assert "test_user.py::test_of_the_user" in both.stdout
    assert "mine::any-number" in both.stdout
    wrong = pytest_in(project, "--mcr-bench", "nothing-of-the-kind")
    assert wrong.returncode == 4
    assert "unknown method, dataset, encoder or fusion head 'nothing-of-the-kind'" in wrong.stderr


@pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="not a checkout")
def test_it_is_an_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"mcr_bench": PLUGIN}
