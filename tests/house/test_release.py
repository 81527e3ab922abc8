"""What a release shows: one version, everywhere; shell completion; files that packages and citations are read from."""

import tomllib
from importlib.metadata import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mcr_bench
from mcr_bench.cli import app

ROOT = Path(mcr_bench.__file__).parent
checkout = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="not a checkout")


def test_the_version_is_printed_and_is_that_of_the_package() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output.strip()) == (0, f"mcr-bench {mcr_bench.__version__}")
    assert metadata("mcr-bench")["Version"] == mcr_bench.__version__


@checkout
def test_the_version_stands_in_one_place_and_citation_and_changes_name_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" not in project
    assert project["dynamic"] == ["version"]
    assert f"\nversion: {mcr_bench.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {mcr_bench.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_completion_is_offered() -> None:
    done = CliRunner().invoke(app, ["--help"])
    assert "--show-completion" in done.output
