"""The examples in docstrings are run: every `>>>` of the code gives what is written below it."""

import doctest
import importlib
from pathlib import Path
from types import ModuleType

import pytest

import mcr_bench

ROOT = Path(mcr_bench.__file__).parent
FOLDERS = ("bench", "methods", "datasets")
MODULES = [
    path
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def examples_run(module: ModuleType, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The number of examples of the module that were run, and what doctest prints of those that failed."""
    result = doctest.testmod(module)
    return result.attempted, capsys.readouterr().out


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_the_examples_of_a_module_give_what_they_say(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(".".join((mcr_bench.__name__, *path.relative_to(ROOT).with_suffix("").parts)))
    attempted, text = examples_run(module, capsys)
    assert text == ""
    assert attempted > 0, "a docstring has >>> in a place where doctest does not look"


def test_a_wrong_example_fails(capsys: pytest.CaptureFixture[str]) -> None:
    module = ModuleType("wrong")
    module.__doc__ = "Two and two.\n\n>>> 2 + 2\n5\n"
    attempted, text = examples_run(module, capsys)
    assert attempted == 1
    assert "Expected:\n    5\nGot:\n    4\n" in text


def test_rooms_of_pure_functions_have_examples() -> None:
    names = {relative(path) for path in MODULES}
    for room in ("bench/statistics", "bench/settings", "methods/terms"):
        files = {relative(path) for path in (ROOT / room).glob("*.py") if path.name != "__init__.py"}
        assert files - names == set()
