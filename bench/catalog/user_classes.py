"""Classes of the user's: `./my_net.py:Net`, `./my_net.py` where one class of the file will do, or `PACKAGE:CLASS`."""

import importlib
import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, TypeVar

from mcr_bench.bench.core.home import usable
from mcr_bench.bench.core.user_files import import_file, modules_beside, relative_import
from mcr_bench.bench.errors import UserError, in_words, unknown

T = TypeVar("T")
NAMED = re.compile(r"(?P<path>.+\.py)(?::(?P<cls>.*))?", re.DOTALL)
PACKAGED = re.compile(r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<cls>[A-Za-z_]\w*)")
Stamps = tuple[tuple[str, int, int], ...]
_loaded: dict[Path, tuple[Stamps, ModuleType]] = {}


class Place(NamedTuple):
    """The place of a user's class.

    path: the file that defines it.
    cls: its name; None if only the file was given.
    """

    path: Path
    cls: str | None

    @staticmethod
    def of(text: str) -> "Place":
        """The place that a text names, which must name one."""
        place = place_of(text)
        assert place is not None, f"'{text}' names no file"
        return place


def place_of(text: str) -> Place | None:
    """The file and class that a text names, None where it names no Python file; UserError for a path that cannot be."""
    match = NAMED.fullmatch(text)
    return Place(usable(match["path"]), match["cls"]) if match else None


def packaged(text: str) -> type | None:
    """The class that `PACKAGE:CLASS` names; None for a text of another form, UserError where there is none."""
    match = PACKAGED.fullmatch(text)
    if match is None:
        return None
    try:
        module = importlib.import_module(match["module"])
    except (Exception, SystemExit) as error:  # of any type: modules are run
        here = f"{match['module'].replace('.', '/')}.py"
        remedy = f". Give the file: ./{here}:{match['cls']}" if Path(here).is_file() else ""
        raise UserError(f"'{match['module']}' cannot be imported: {in_words(error)}{remedy}") from error
    cls = getattr(module, match["cls"], None)
    if not inspect.isclass(cls):
        classes = [one.__name__ for one in own_classes(module, object)]
        raise UserError(f"'{match['module']}': {unknown('class', match['cls'], classes)}")
    return cls


def class_in(text: str, base: type[T], kind: str, example: str) -> type[T]:
    """The class that `./my_net.py:Net` names; UserError with the file, the class, and what is allowed.

    base: what it must derive from. kind: what it is to be, as `encoder`. example: how one is named.
    """
    place = Place.of(text)
    module = module_in(place.path, kind, example)
    if place.cls is None:
        return only(text, own_classes(module, base), base)
    cls = getattr(module, place.cls, None)
    if cls is None:
        defined = [c.__name__ for c in own_classes(module, object)]
        raise UserError(f"{kind} file '{place.path}': {unknown('class', place.cls, defined)}")
    if not inspect.isclass(cls):
        raise UserError(f"{kind} file '{place.path}': '{place.cls}' is not a class. Name a class, as {example}.")
    if not issubclass(cls, base):
        wanted = _public_name(base)
        raise UserError(
            f"{kind} file '{place.path}': class {place.cls} is not a {wanted}. Derive it from {wanted}, as in "
            f"class {place.cls}({base.__name__}): ..."
        )
    return cls


def module_in(path: Path, kind: str, example: str) -> ModuleType:
    """The module in a file of the user's, imported once as long as it and the modules beside it stay as they are."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"{kind} file '{path}' {what}. Give the path of a Python file: {example}.")
    known = _loaded.get(path.resolve())
    if known is None or known[0] != _stamps(known[1]):
        module = _imported(path)
        known = _loaded[path.resolve()] = (_stamps(module), module)
    return known[1]


def own_classes(module: ModuleType, base: type[T]) -> list[type[T]]:
    """The subclasses of `base` that the module itself defines, not those that it imports."""
    classes = (c for _, c in inspect.getmembers(module, inspect.isclass))
    return [c for c in classes if issubclass(c, base) and c.__module__ == module.__name__]


def _imported(path: Path) -> ModuleType:
    try:
        return import_file(path)
    except (Exception, SystemExit) as error:  # a script that ends itself must not end this command in silence
        raise UserError(f"file '{path}' cannot be imported: {in_words(error)}{relative_import(error)}") from error


def only(text: str, classes: Sequence[type[T]], base: type) -> type[T]:
    """The one class of a module; UserError where there are none or several."""
    if len(classes) == 1:
        return classes[0]
    count = f"'{text}' must define exactly one subclass of {_public_name(base)}, found {len(classes)}"
    if not classes:
        raise UserError(f"{count}.")
    raise UserError(f"{count}: {', '.join(c.__name__ for c in classes)}. Name one: {text}:{classes[0].__name__}.")


def _public_name(base: type) -> str:
    return "torch.nn.Module" if base.__module__.startswith("torch.nn") else base.__name__


def _stamps(module: ModuleType) -> Stamps:
    """What tells whether the files of a module and of those beside it are as they were when they were imported."""
    files = [Path(str(one.__file__)) for one in (module, *modules_beside(module)) if getattr(one, "__file__", None)]
    return tuple(_stamp(file) for file in files)


def _stamp(file: Path) -> tuple[str, int, int]:
    try:
        status = file.stat()
    except OSError:
        return str(file), 0, 0
    return str(file), status.st_mtime_ns, status.st_size
