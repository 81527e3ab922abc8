"""House rules, read off the syntax trees: bench names no method or dataset, methods do not import each other."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import mcr_bench
from mcr_bench.bench.catalog.registry import dataset_names, method_names
from mcr_bench.methods.base import Method

ROOT = Path(mcr_bench.__file__).parent
LONGEST = 350
ROOMS = ("bench", "methods", "datasets", "results")
FILES = [ROOT / "__init__.py", ROOT / "cli.py", *(p for room in ROOMS for p in sorted((ROOT / room).rglob("*.py")))]
ROLES = {name for hint in get_args(get_type_hints(Method)["role"]) for name in get_args(hint)}
NAMES = {*method_names(), *dataset_names()} - ROLES
CONCRETE = {
    f"mcr_bench.{room}.{name.replace('-', '_')}"
    for room, names in (("methods", method_names()), ("datasets", dataset_names()))
    for name in names
}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> Iterator[str]:
    """Every imported module with what is taken from it; in a type-checking block or function too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def strings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def test_the_names_are_those_of_the_registry() -> None:
    assert {"joint", "synthetic"} <= NAMES
    assert len(FILES) > 20


@pytest.mark.parametrize("path", [p for p in FILES if p.is_relative_to(ROOT / "bench")], ids=relative)
def test_bench_knows_no_method_and_no_dataset(path: Path) -> None:
    assert [name for name in imports(path) if within(name, tuple(CONCRETE))] == []
    assert [text for text in strings(path) if text in NAMES] == []


@pytest.mark.parametrize("path", [p for p in FILES if p.parent == ROOT / "methods"], ids=relative)
def test_a_method_imports_no_other_method(path: Path) -> None:
    methods = tuple(name for name in CONCRETE if name.startswith("mcr_bench.methods."))
    assert [name for name in imports(path) if within(name, methods)] == []


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_nothing_imports_the_command_line(path: Path) -> None:
    assert [name for name in imports(path) if within(name, ("mcr_bench.cli",))] == []


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_files_stay_small_and_say_what_they_are_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST
    assert ast.get_docstring(ast.parse(text)), "the first line says what the module is for"
