"""Names of methods and datasets -> their classes: files of their packages, and third parties' entry points.

A file is registered under its own name with hyphens; `base`, sub-packages and names with a leading underscore are not.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from mcr_bench.bench.catalog.method_form import check_form
from mcr_bench.bench.core.user_files import import_file, relative_import
from mcr_bench.bench.errors import UserError, in_words, unknown

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
    if is_path(name) and name not in dataset_names():
        adapters = [dataset(n) for n in dataset_names()]
        reading = [adapter for adapter in adapters if Path(name).suffix.lower() in adapter.suffixes]
        if not reading or Path(name).is_dir():
            raise _unread(Path(name), adapters)
        return reading[0]
    found = _find("datasets", name)
    return _only_class(found, _dataset_base(), name) if isinstance(found, ModuleType) else found


def is_path(name: str) -> bool:
    """Whether a dataset is named by a path: it has a suffix or a slash, or is a file or folder here."""
    return bool(Path(name).suffix) or "/" in name or Path(name).exists()


def _unread(path: Path, adapters: "Sequence[type[Dataset]]") -> UserError:
    """What the file or folder is, and how it becomes one that an adapter reads."""
    if path.suffix == ".py" and path.is_file():
        return not_a_dataset_file(path)
    told = [text for adapter in adapters if (text := adapter.conversion(path))]
    known = ", ".join(sorted(s for a in adapters for s in a.suffixes))
    missing = "" if path.exists() else f" '{path}' does not exist."
    names = ", ".join(dataset_names())
    head = f"no dataset adapter reads '{path}'. Files may end in {known}; or name one of {names}.{missing}"
    return UserError("\n".join([head, *told]))


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


def _own_classes(module: ModuleType, base: type[T]) -> list[type[T]]:
    """The subclasses that the module itself defines, not those that it imports."""
    classes = (c for _, c in inspect.getmembers(module, inspect.isclass))
    return [c for c in classes if issubclass(c, base) and c.__module__ == module.__name__]


def _only_class(module: ModuleType, base: type[T], name: str) -> type[T]:
    mine = _own_classes(module, base)
    if len(mine) != 1:
        raise UserError(f"'{name}' must define exactly one subclass of {base.__name__}, found {len(mine)}.")
    return mine[0]


def _method_in_file(path: Path) -> "type[Method]":
    if not path.is_file():
        raise UserError(
            f"method file '{path}' does not exist. Give the path of a Python file that defines one subclass of Method."
        )
    module = _module_in_file(path)
    if not _own_classes(module, _method_base()) and _own_classes(module, _dataset_base()):
        raise _a_dataset(path, module)
    found = _only_class(module, _method_base(), str(path))
    check_form(found, path, {*method_names(), *COMMON})
    _from_files.add(found.name)
    return found


def _module_in_file(path: Path) -> ModuleType:
    try:
        return import_file(path)
    except (Exception, SystemExit) as error:  # a script that ends itself must not end this command in silence
        raise UserError(f"file '{path}' cannot be imported: {in_words(error)}{relative_import(error)}") from error


def not_a_dataset_file(path: Path) -> UserError:
    """What a .py file is that was named where a dataset is wanted."""
    module = _module_in_file(path)
    if _own_classes(module, _dataset_base()):
        return _a_dataset(path, module)
    if methods := _own_classes(module, _method_base()):
        return UserError(f"'{path}' defines the method {methods[0].__name__}, not a dataset: --methods {path}.")
    return UserError(f"'{path}' defines no Dataset. docs/data.md (A dataset of your own) shows one.")


def _a_dataset(path: Path, module: ModuleType) -> UserError:
    """An adapter cannot be used straight from its file yet; a registered name leads to it in every command."""
    (found, *_) = _own_classes(module, _dataset_base())
    name = str(getattr(found, "name", path.stem))
    entry = f'"{name}" = "{path.stem}:{found.__name__}"'
    return UserError(
        f"'{path}' defines the dataset {found.__name__}, and a dataset cannot be named by its file. Install it as a "
        f'package with the entry point [project.entry-points."mcr_bench.datasets"] {entry}, then use the name '
        f"'{name}'; docs/data.md shows how."
    )
