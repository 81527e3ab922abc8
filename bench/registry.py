"""Names of methods and datasets -> their classes: files of their packages, and third parties' entry points.

A file is registered under its own name with hyphens; `base`, sub-packages and names with a leading underscore are not.
"""

import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from mcr_bench.bench.errors import UserError, unknown

if TYPE_CHECKING:
    from mcr_bench.datasets.base import Dataset
    from mcr_bench.methods.base import Method


T = TypeVar("T")
_from_files: set[str] = set()
# Heads of settings that are nobody's own, and the word for every method: no method can be called so.
COMMON = ("all", "dataset", "encoder", "model", "optimizer", "schedule")


def method_names() -> list[str]:
    """Every registered method; imports none of them."""
    return sorted({*_builtin("methods"), *_external("methods")})


def dataset_names() -> list[str]:
    """Every registered dataset; imports none of them."""
    return sorted({*_builtin("datasets"), *_external("datasets")})


def setting_owners() -> set[str]:
    """Every method whose name may begin a dotted setting: the registered ones and those loaded from files."""
    return {*method_names(), *_from_files}


@cache
def method(name: str) -> "type[Method]":
    """The class of a registered method, or of the one method that a `.py` file defines; UserError if there is none."""
    if name.endswith(".py"):
        return _method_in_file(Path(name))
    found = _find("methods", name)
    return _only_class(found, _method_base(), name) if isinstance(found, ModuleType) else found


@cache
def dataset(name: str) -> "type[Dataset]":
    """The class of a registered dataset, or the adapter of a file with that suffix; UserError if there is none."""
    base = _dataset_base()
    suffix = Path(name).suffix
    if suffix or "/" in name:
        adapters = [dataset(n) for n in dataset_names()]
        for adapter in adapters:
            if suffix in adapter.suffixes:
                return adapter
        known = ", ".join(sorted(s for a in adapters for s in a.suffixes))
        names = ", ".join(dataset_names())
        raise UserError(f"no dataset adapter reads '{name}'. Files may end in {known}; or name one of {names}.")
    found = _find("datasets", name)
    return _only_class(found, base, name) if isinstance(found, ModuleType) else found


def _builtin(room: str) -> list[str]:
    package = importlib.import_module(f"mcr_bench.{room}")
    modules = pkgutil.iter_modules(package.__path__)
    return [
        m.name.replace("_", "-") for m in modules if not m.ispkg and not m.name.startswith("_") and m.name != "base"
    ]


def _external(room: str) -> list[str]:
    return _names(entry_points, f"mcr_bench.{room}")


@cache
def _names(read: Callable[..., Iterable[EntryPoint]], group: str) -> list[str]:
    """Scanning all installed packages is slow, and a plan asks for every setting of every run."""
    return [point.name for point in read(group=group)]


def _find(room: str, name: str) -> "ModuleType | type":
    if name in _builtin(room):
        return importlib.import_module(f"mcr_bench.{room}.{name.replace('-', '_')}")
    for point in entry_points(group=f"mcr_bench.{room}"):
        if point.name == name:
            found: ModuleType | type = point.load()
            return found
    raise unknown(room.removesuffix("s"), name, {*_builtin(room), *_external(room)})


def _method_base() -> "type[Method]":
    from mcr_bench.methods.base import Method

    return Method


def _dataset_base() -> "type[Dataset]":
    from mcr_bench.datasets.base import Dataset

    return Dataset


def _only_class(module: ModuleType, base: type[T], name: str) -> type[T]:
    mine = [
        c
        for _, c in inspect.getmembers(module, inspect.isclass)
        if issubclass(c, base) and c.__module__ == module.__name__
    ]
    if len(mine) != 1:
        raise UserError(f"'{name}' must define exactly one subclass of {base.__name__}, found {len(mine)}.")
    return mine[0]


def _method_in_file(path: Path) -> "type[Method]":
    if not path.is_file():
        raise UserError(
            f"method file '{path}' does not exist. Give the path of a Python file that defines one subclass of Method."
        )
    name = f"mcr_bench_user_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script that ends itself must not end this command in silence
        raise UserError(f"method file '{path}' cannot be imported: {type(error).__name__}: {error}") from error
    found = _only_class(module, _method_base(), str(path))
    _check_form(found, path)
    _from_files.add(found.name)
    return found


def _check_form(found: "type[Method]", path: Path) -> None:
    """What a first method easily forgets would otherwise fail late, or silently do nothing."""
    if not isinstance(getattr(found, "name", None), str):
        raise UserError(f"method file '{path}': class {found.__name__} has no `name`; give it one.")
    if found.name in {*method_names(), *COMMON}:
        raise UserError(f"method file '{path}': the name '{found.name}' is taken; give the class another `name`.")
    if any(isinstance(value, dataclasses.Field) for value in vars(found).values()):
        raise UserError(f"method file '{path}': class {found.__name__} declares settings; put @dataclass above it.")
