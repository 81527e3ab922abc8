"""House rules, read off the syntax trees: bench names no method or dataset, methods do not import each other."""

import ast
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import mcr_bench
from mcr_bench.bench.catalog.registry import dataset_names, method_names
from mcr_bench.methods.base import Method

ROOT = Path(mcr_bench.__file__).parent
LONGEST = 350
TOP = {
    *("bench", "methods", "datasets", "results", "tests", "docs", "examples", "cli.py", "__init__.py", "py.typed"),
    *("Makefile", "pyproject.toml", "setup.py", "constraints.txt", ".ci", ".github", ".gitignore"),
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "LICENSE"),
}
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


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Every imported module with what is taken from it; in a type-checking block or function too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def strings(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def importing(paths: Iterable[Path], packages: tuple[str, ...]) -> dict[str, list[str]]:
    """File -> what it imports from these packages, for the files that import something from them."""
    found = {relative(path): [name for name in imports(path) if within(name, packages)] for path in paths}
    return {path: names for path, names in found.items() if names}


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def test_the_names_are_those_of_the_registry() -> None:
    assert {"joint", "synthetic"} <= NAMES
    assert len(FILES) > 20


def test_bench_knows_no_method_and_no_dataset() -> None:
    bench = [p for p in FILES if p.is_relative_to(ROOT / "bench")]
    assert len(bench) > 200
    assert importing(bench, tuple(CONCRETE)) == {}
    named = {relative(path): [text for text in strings(path) if text in NAMES] for path in bench}
    assert {path: names for path, names in named.items() if names} == {}


def test_a_method_imports_no_other_method() -> None:
    own = [p for p in FILES if p.parent == ROOT / "methods"]
    assert len(own) > 40
    assert importing(own, tuple(name for name in CONCRETE if name.startswith("mcr_bench.methods."))) == {}


def test_nothing_imports_the_command_line() -> None:
    assert importing(FILES, ("mcr_bench.cli",)) == {}


def test_what_is_imported_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("def f():\n    from mcr_bench.cli import app\n")
    assert list(imports(path)) == ["mcr_bench.cli.app"]
    assert within("mcr_bench.cli.app", ("mcr_bench.cli",))
    assert not within("mcr_bench.clip", ("mcr_bench.cli",))


def test_files_stay_small() -> None:
    lengths = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {path: count for path, count in lengths.items() if count > LONGEST} == {}


def test_files_say_what_they_are_for() -> None:
    assert [relative(path) for path in FILES if not ast.get_docstring(tree(path))] == []


def test_the_top_level_holds_what_is_documented_and_nothing_else() -> None:
    """Scratch files of an experiment are easily taken in by `git add -A`."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: what is tracked cannot be known")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {name.partition("/")[0] for name in listed.split("\0") if name} == TOP
