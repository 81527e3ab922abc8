"""The wheel holds every module and every file of data, nothing else, and each module imports where no checkout lies."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import mcr_bench

ROOT = Path(mcr_bench.__file__).parent
ROOMS = ("bench", "methods", "datasets", "results")
DATA = {".toml", ".csv", ".css", ".js", ".html"}

BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, "build_" + sys.argv[1])(sys.argv[2]))
"""

# The folder of the wheel comes first on sys.path, then what the package depends on; the finder of an editable install,
# which would lead back to the checkout, is taken out.
IMPORT_ALL = """
import importlib, pkgutil, sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
place = sys.argv[1]
sys.path.insert(0, place)
import mcr_bench
names = ["mcr_bench", *(module.name for module in pkgutil.walk_packages(mcr_bench.__path__, "mcr_bench."))]
for name in names:
    module = importlib.import_module(name)
    assert module.__file__ and module.__file__.startswith(place), f"{name} comes from {module.__file__}"
    print(name)
"""

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="not a checkout: nothing to build")


def copied(source: Path, place: Path) -> Path:
    """The files of the checkout that a build may look at, without what its owner made in it, under `place`."""
    place.mkdir()
    for name in ("__init__.py", "cli.py", "py.typed", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(source / name, place)
    for room in ("bench", "methods", "datasets", "tests"):
        shutil.copytree(source / room, place / room, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    shutil.copytree(
        source / "examples", place / "examples", ignore=shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")
    )
    for kept in ("published", "experiments"):
        shutil.copytree(source / "results" / kept, place / "results" / kept)
    shutil.copy(source / "results/__init__.py", place / "results")
    return place


def littered(checkout: Path) -> Path:
    """The checkout with what running and building leave in it, which no wheel may hold."""
    for name in (
        "results/runs.csv",
        "results/report/page.html",
        "results/mlruns/0/meta.toml",
        "results/own/__init__.py",
        "data/cache/manifest.toml",
        "build/lib/mcr_bench/bench/left_over.py",
        "bench/report/notes.txt",
    ):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("")
    return checkout


def built(checkout: Path, kind: str, place: Path) -> Path:
    """The wheel or the sdist of the checkout, made by setuptools as pip makes it, without the network."""
    place.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-W", "error:::setuptools", "-c", BUILD, kind, str(place)]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return place / done.stdout.split()[-1]


def names_in(wheel: Path) -> set[str]:
    """The files of the package in a wheel, named from the root of the package."""
    with zipfile.ZipFile(wheel) as archive:
        return {name.removeprefix("mcr_bench/") for name in archive.namelist() if name.startswith("mcr_bench/")}


def belonging(checkout: Path) -> set[str]:
    """The files that make the package: code and data of the rooms, all of a clean `results`, and the root's own."""
    files = [path for room in ROOMS for path in (checkout / room).rglob("*") if path.suffix in {".py", *DATA}]
    files += [path for path in (checkout / "results").rglob("*") if path.is_file()]
    files += (checkout / "examples").glob("*/*.py")  # `mcr-bench new` writes them under other names
    return {"__init__.py", "cli.py", "py.typed", *(path.relative_to(checkout).as_posix() for path in files)}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean copy of the checkout."""
    return copied(ROOT, tmp_path_factory.mktemp("wheel") / "checkout")


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> Path:
    """The wheel of the clean copy, built in a copy of its own."""
    return built(copied(checkout, checkout.parent / "clean"), "wheel", checkout.parent / "made")


def test_the_wheel_holds_all_code_and_data_of_the_checkout_and_nothing_else(checkout: Path, wheel: Path) -> None:
    names = names_in(wheel)
    assert names == belonging(checkout)
    assert {"py.typed", "results/published/mcr_neurips2025.csv", "datasets/presets/synthetic.toml"} <= names
    assert {"bench/report/html/templates/page.html", "bench/report/html/page.css"} <= names
    assert not {name for name in names if name.startswith(("tests/", "setup"))}


def test_a_new_folder_of_code_needs_no_line(checkout: Path, tmp_path: Path) -> None:
    place = copied(checkout, tmp_path / "grown")
    for name in ("bench/attic/__init__.py", "bench/attic/box/__init__.py", "bench/attic/box/lid.py", "methods/new.py"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text('"""New."""\n')
    (place / "bench/attic/box/page.html").write_text("<p>")
    assert names_in(built(place, "wheel", tmp_path / "made")) == belonging(place)


def test_what_running_and_building_leave_behind_does_not_ship(checkout: Path, tmp_path: Path) -> None:
    place = littered(copied(checkout, tmp_path / "littered"))
    assert names_in(built(place, "wheel", tmp_path / "made")) == belonging(checkout)


def test_the_sdist_builds_the_same_wheel(checkout: Path, wheel: Path, tmp_path: Path) -> None:
    sdist = built(copied(checkout, tmp_path / "source"), "sdist", tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "opened", filter="data")
    (opened,) = (tmp_path / "opened").iterdir()
    assert names_in(built(opened, "wheel", tmp_path / "made")) == names_in(wheel)


def test_every_module_of_the_wheel_imports_where_no_checkout_lies(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-P", "-c", IMPORT_ALL, str(tmp_path / "site")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    modules = {name.removesuffix(".py").removesuffix("/__init__") for name in names_in(wheel) if name.endswith(".py")}
    modules = {name for name in modules if not name.startswith("examples/")}
    expected = {"mcr_bench"} | {f"mcr_bench.{name.replace('/', '.')}" for name in modules - {"__init__"}}
    assert set(done.stdout.split()) == expected
