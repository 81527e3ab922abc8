"""Names of methods and datasets -> their classes: files of their packages, and third parties' entry points.

A file is registered under its own name with hyphens; `base`, sub-packages and names with a leading underscore are not.
"""

import importlib
import inspect
import os
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from mcr_bench.bench.catalog.dataset_form import check_dataset_form
from mcr_bench.bench.catalog.method_form import check_form
from mcr_bench.bench.catalog.offered import Offered, loaded, offered
from mcr_bench.bench.catalog.user_classes import (
    PACKAGED,
    Place,
    class_in,
    module_in,
    only,
    own_classes,
    packaged,
    place_of,
)
from mcr_bench.bench.core.home import usable
from mcr_bench.bench.errors import UserError, unknown

if TYPE_CHECKING:
    from mcr_bench.datasets.base import Dataset
    from mcr_bench.methods.base import Method


T = TypeVar("T")
_own: set[str] = set()
# Heads of settings that are nobody's own, and the word for every method: no method can be called so.
COMMON = ("all", "dataset", "encoder", "model", "optimizer", "schedule")


def method_names() -> list[str]:
    """Every registered method; imports none of them."""
    return sorted({*_builtin("methods"), *_external("methods")})


def selections() -> dict[str, list[str]]:
    """Word -> the registered methods that it selects: "all", every group, and the selections that methods declare.

    Imports all of them. Those of packages that cannot be imported are in none.
    """
    known = methods().known
    selected: dict[str, list[str]] = {"all": list(known)}
    for name, cls in known.items():
        for word in (cls.group, *cls.selections):
            selected.setdefault(word, []).append(name)
    return selected


def methods() -> "Offered[type[Method]]":
    """Every registered method by its name, and which of them cannot be imported."""
    return offered(method_names(), method)


def datasets() -> "Offered[type[Dataset]]":
    """Every registered dataset by its name, and which of them cannot be imported."""
    return offered(dataset_names(), dataset)


def shipped_methods() -> list[str]:
    """Every method that comes with the harness; imports none of them."""
    return sorted(_builtin("methods"))


def dataset_names() -> list[str]:
    """Every registered dataset; imports none of them."""
    return sorted({*_builtin("datasets"), *_external("datasets")})


def setting_owners() -> set[str]:
    """Every method whose name may begin a dotted setting: the registered ones and the user's own."""
    return {*method_names(), *_own}


def method(name: str) -> "type[Method]":
    """The class of a registered method, of one in a file (`./my_method.py`, `./my_method.py:Mine`) or `PACKAGE:CLASS`.

    UserError where there is none, or where its form is wrong.
    """
    if place_of(name):
        return _method_in_file(name)
    if (cls := packaged(name)) is not None:
        return _own_method(_derived(name, cls, _method_base()), name)
    return _class_of(name, _find("methods", name), _method_base())


def dataset(name: str) -> "type[Dataset]":
    """The class of a registered dataset, of one in a file or `PACKAGE:CLASS`, or the adapter of a file of data.

    UserError where there is none, or where its form is wrong.
    """
    if place_of(name):
        return _dataset_in_file(name)
    if (cls := packaged(name)) is not None:
        derived = _derived(name, cls, _dataset_base())
        check_dataset_form(derived, name, dataset_names())
        return derived
    if is_path(name) and name not in dataset_names():
        return _adapter_of(named_path(name))
    return _class_of(name, _find("datasets", name), _dataset_base())


def is_file(name: str) -> bool:
    """Whether a method or a dataset is named by a Python file that defines it."""
    return place_of(name) is not None


def is_own(name: str) -> bool:
    """Whether a method or a dataset is named by a Python file that defines it, or as `PACKAGE:CLASS`."""
    return is_file(name) or PACKAGED.fullmatch(name) is not None


def is_path(name: str) -> bool:
    """Whether a dataset is named by a path: it has a suffix or a slash, or is a file or folder here."""
    return bool(Path(name).suffix) or "/" in name or os.path.exists(name)


def named_path(name: str) -> Path:
    """The user's file or folder, by a path that ends with its name: `.` has none. UserError where there can be none."""
    path = usable(name)
    return path if path.name not in ("", "..") else path.resolve()


def _adapter_of(path: Path) -> "type[Dataset]":
    """The adapter of a file, by its suffix, or of a folder, by the file in it that marks it; UserError if none is.

    Packages of somebody else are imported only where no adapter of the harness reads it.
    """
    shipped = [dataset(name) for name in sorted(_builtin("datasets"))]
    for adapter in shipped:
        if _reads(adapter, path):
            return adapter
    theirs = offered(sorted({*_external("datasets")} - {*_builtin("datasets")}), dataset)
    for adapter in theirs.known.values():
        if _reads(adapter, path):
            return adapter
    raise _unread(path, [*shipped, *theirs.known.values()], theirs.left_out)


def _reads(adapter: "type[Dataset]", path: Path) -> bool:
    if path.is_dir():
        return bool(adapter.folder_mark) and (path / adapter.folder_mark).is_file()
    return path.suffix.lower() in adapter.suffixes


def _unread(path: Path, adapters: "Sequence[type[Dataset]]", left_out: Iterable[str]) -> UserError:
    """What the file or folder is, and how it becomes one that an adapter reads."""
    told = [text for adapter in adapters if (text := adapter.conversion(path))]
    known = ", ".join(sorted(s for a in adapters for s in a.suffixes))
    missing = "" if path.exists() else f" '{path}' does not exist."
    names = ", ".join(dataset_names())
    head = f"no dataset adapter reads '{path}'. Files may end in {known}; or name one of {names}.{missing}"
    return UserError("\n".join([head, *told, *left_out]))


def _builtin(room: str) -> list[str]:
    package = importlib.import_module(f"mcr_bench.{room}")
    modules = pkgutil.iter_modules(package.__path__)
    return [
        m.name.replace("_", "-") for m in modules if not m.ispkg and not m.name.startswith("_") and m.name != "base"
    ]


def _external(room: str) -> list[str]:
    return [point.name for point in _points(entry_points, f"mcr_bench.{room}")]


@cache
def _points(read: Callable[..., Iterable[EntryPoint]], group: str) -> list[EntryPoint]:
    """Scanning all installed packages is slow, and a plan asks for every setting of every run."""
    return list(read(group=group))


def _find(room: str, name: str) -> object:
    if name in _builtin(room):
        return importlib.import_module(f"mcr_bench.{room}.{name.replace('-', '_')}")
    for point in _points(entry_points, f"mcr_bench.{room}"):
        if point.name == name:
            return loaded(point)
    raise unknown(room.removesuffix("s"), name, {*_builtin(room), *_external(room)})


def _class_of(name: str, offer: object, base: type[T]) -> type[T]:
    """The class of a module or class that is registered; UserError where it is something else."""
    if isinstance(offer, ModuleType):
        return only(name, own_classes(offer, base), base)
    if not inspect.isclass(offer):
        raise UserError(f"'{name}' is not a {base.__name__}. Name a class that derives from {base.__name__}.")
    return _derived(name, offer, base)


def _method_base() -> "type[Method]":
    from mcr_bench.methods.base import Method

    return Method


def _dataset_base() -> "type[Dataset]":
    from mcr_bench.datasets.base import Dataset

    return Dataset


def _method_in_file(name: str) -> "type[Method]":
    base, place = _method_base(), Place.of(name)
    module = module_in(place.path, "method", "./my_method.py")
    if place.cls is None and not own_classes(module, base):
        for other in own_classes(module, _dataset_base()):
            raise UserError(f"'{name}' defines the dataset {other.__name__}, not a method: --dataset {name}.")
    cls = class_in(name, base, "method", "./my_method.py")
    return _own_method(cls, str(place.path))


def _dataset_in_file(name: str) -> "type[Dataset]":
    base, place = _dataset_base(), Place.of(name)
    module = module_in(place.path, "dataset", "./my_set.py")
    if place.cls is None and not own_classes(module, base):
        for other in own_classes(module, _method_base()):
            raise UserError(f"'{name}' defines the method {other.__name__}, not a dataset: --methods {name}.")
        raise UserError(f"'{name}' defines no Dataset. docs/data.md (A dataset of your own) shows one.")
    cls = class_in(name, base, "dataset", "./my_set.py")
    check_dataset_form(cls, str(place.path), dataset_names())
    return cls


def _own_method(cls: "type[Method]", place: str) -> "type[Method]":
    check_form(cls, place, {*method_names(), *COMMON})
    _own.add(cls.name)
    return cls


def _derived(name: str, cls: type, base: type[T]) -> type[T]:
    if not issubclass(cls, base):
        raise UserError(f"'{name}' is not a {base.__name__}. Name a class that derives from {base.__name__}.")
    return cls
