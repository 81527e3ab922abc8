"""The example package is installed from its folder, offline; what it offers is listed, described, checked and run."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

import mcr_bench
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.commands.plugins import new_files
from mcr_bench.bench.testing import kits
from mcr_bench.bench.testing.card import checked
from mcr_bench.cli import app

EXAMPLES = Path(mcr_bench.__file__).parent / "examples"
NAMES = {"method": "focused", "dataset": "tones", "encoder": "mean-steps", "fusion": "unit-sum"}
pytestmark = pytest.mark.skipif(
    not (EXAMPLES / "pyproject.toml").is_file(), reason="not a checkout: nothing to install"
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip has installed a copy of the package, without the network."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(
        EXAMPLES, folder / "source", ignore=shutil.ignore_patterns("__pycache__", ".*", "build", "*.egg-info")
    )
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        *options,
        "--target",
        str(folder / "site"),
        str(folder / "source"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


@pytest.fixture
def offered(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package can be imported, and its entry points are seen, while the test runs."""
    monkeypatch.syspath_prepend(installed)
    monkeypatch.setattr(registry, "entry_points", lambda group: entry_points(group=group))  # the registry remembers
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("MCR_BENCH_HOME", "home")
    monkeypatch.chdir(tmp_path)
    yield installed
    for name in [name for name in sys.modules if name.startswith("mcr_bench_example")]:
        del sys.modules[name]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize("kind", NAMES)
def test_it_is_listed_and_described(kind: str) -> None:
    assert NAMES[kind] in call("list", f"{kind}s").stdout
    told = call("describe", NAMES[kind])
    assert told.exit_code == 0, told.output
    assert told.stdout.startswith(f"{kind}: {NAMES[kind]}")


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize("kind", ["dataset", "encoder", "fusion"])
def test_it_has_every_property_by_its_name_and_as_a_class(kind: str) -> None:
    """The method is checked with its new file, which is the same but for the name."""
    example = new_files.OF_KIND[kind]
    for target in (example.name, f"mcr_bench_example.{example.module}:{example.cls}"):
        target_of = kits.opened(target)
        ready = target_of.opened
        outcomes = checked(ready.subject, kind, target_of.kit.properties, ready.of, ready.file).outcomes
        assert (target_of.kind, len(outcomes) > 10) == (kind, True)
        assert {one.property: one.reason for one in outcomes if one.state == "failed"} == {}


@pytest.mark.usefixtures("offered")
def test_it_is_checked_on_the_command_line() -> None:
    told = call("check", NAMES["dataset"])
    assert told.exit_code == 0, told.output
    assert "tones (dataset)" in told.stdout


@pytest.mark.usefixtures("offered")
def test_all_four_run_together() -> None:
    nets = ("--set", "encoder.kind=mean-steps", "--set", "model.fusion=unit-sum")
    options = ("--dataset", "tones", "--seeds", "1", "--jobs", "1", "--set", "epochs=2", "--set", "focused.gamma=1")
    told = call("run", "--methods", "focused", *options, *nets)
    assert told.exit_code == 0, told.output
    assert "focused" in told.stdout
    assert "tones · tone + colour · protocol drawn" in told.stdout


def test_its_own_tests_and_those_of_the_plug_in_pass(installed: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])}
    is_known = "mcr_bench" in {point.name for point in entry_points(group="pytest11")}  # not in an older installation
    plug_in = () if is_known else ("-p", "mcr_bench.bench.testing.plugin")
    named = ("--mcr-bench", NAMES["dataset"], "--mcr-bench", NAMES["encoder"])
    command = [sys.executable, "-m", "pytest", "-q", *plug_in, *named, str(installed.parent / "source")]
    done = subprocess.run(command, cwd=installed, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (count,) = re.findall(r"(\d+) passed", done.stdout)
    assert int(count) > 40  # ten own tests, and the properties of two


def test_the_page_names_what_the_package_offers() -> None:
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    project = (EXAMPLES / "pyproject.toml").read_text(encoding="utf-8")
    for name in NAMES.values():
        assert f"| `{name}` |" in page
        assert f"mcr-bench check {name}" in page
        assert f'{name} = "mcr_bench_example.{name.replace("-", "_")}:' in project
