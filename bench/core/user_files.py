"""Import Python files of the user, with the modules that lie beside them, under names of their own.

While a user's file is imported, a module in its folder is found before any installed module of the same name. After
the import such modules are removed from sys.modules: two files in two folders may each have a `helper.py`, and neither
gets the other's.
"""

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
PREFIX = "mcr_bench_user_"
_beside: dict[str, tuple[ModuleType, ...]] = {}


def import_file(path: Path) -> ModuleType:
    """Import the file at `path`, also if it was imported before. An error that the file raises passes through."""
    name = f"{PREFIX}{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _folder_of(path) as helpers:
        spec.loader.exec_module(module)
    for helper in helpers:
        _rename(helper, f"{name}.{helper.__name__}")
    _beside[name] = tuple(helpers)
    return module


def _rename(helper: ModuleType, name: str) -> None:
    """Give a helper and its classes the name `name`: annotations of a class are read in the module that it names."""
    for value in vars(helper).values():
        if isinstance(value, type) and value.__module__ == helper.__name__:
            value.__module__ = name
    sys.modules[name] = helper


def modules_beside(module: ModuleType) -> tuple[ModuleType, ...]:
    """The modules in the folder of a user's file that its import has imported; none for modules of packages."""
    return _beside.get(module.__name__, ())


def is_of_a_file(cls: type) -> bool:
    """Whether a class is defined in a user's file, not in a package."""
    return cls.__module__.startswith(PREFIX)


def file_of(cls: type) -> Path | None:
    """The user's file that defines a class; None for classes of packages."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return Path(file) if is_of_a_file(cls) and file else None


def relative_import(error: BaseException) -> str:
    """The remedy for a relative import, which a file outside any package cannot make; '' for other errors."""
    if "no known parent package" not in str(error):
        return ""
    return ". To import a file of the same folder write `import helper` or `from helper import ...`, without the dot"


def portable(function: Callable[P, R]) -> Callable[P, R]:
    """A function that may be sent to a process that has not imported the user's file that defines it.

    Of other functions, and of those that a module cannot give by their name, it is the function itself.
    """
    if isinstance(function, partial):
        return partial(portable(function.func), *function.args, **function.keywords)
    for name, helpers in _beside.items():
        main = sys.modules.get(name)
        for module in (main, *helpers):
            if main is not None and module is not None and getattr(function, "__globals__", None) is vars(module):
                beside = "" if module is main else str(vars(module)["__name__"])
                return FunctionOfFile(str(Path(str(main.__file__)).resolve()), beside, function.__qualname__)
    return function


@dataclass(frozen=True)
class FunctionOfFile:
    """A function of a user's file, which is imported in the process that calls the function.

    path: the user's file.
    beside: the module of the same folder that defines the function; '' for the file itself.
    name: the name of the function.
    """

    path: str
    beside: str
    name: str

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return _function_of(self)(*arguments, **named)


@cache
def _function_of(place: FunctionOfFile) -> Callable[..., Any]:
    path = Path(place.path)
    if place.beside:  # alone: the file may import what the module beside it does without
        with _folder_of(path):
            module = importlib.import_module(place.beside)
    else:
        module = import_file(path)
    part_of: Any = module
    for part in place.name.split("."):
        part_of = getattr(part_of, part)
    made: Callable[..., Any] = part_of
    return made


def late_import(error: BaseException) -> str:
    """The remedy for a module beside a user's file that is imported only when a hook runs; '' for other errors."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    top = error.name.partition(".")[0]
    for frame, _ in walk_tb(error.__traceback__):
        file = Path(frame.f_code.co_filename).resolve()
        beside = (file.parent / f"{top}.py").is_file() or (file.parent / top / "__init__.py").is_file()
        if beside and str(frame.f_globals.get("__name__", "")).startswith(PREFIX):
            return f". Import {top} at the top of {file}: modules of its folder are found only while it is imported"
    return ""


class _Beside(MetaPathFinder):
    """Finds the top-level modules of one folder, except those with a name of the standard library.

    given: the names of the modules that it has found.

    A folder without an `__init__.py` is a package of its own only where no installed one has its name, as in Python.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.given: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None or fullname in sys.stdlib_module_names:
            return None
        spec = PathFinder.find_spec(fullname, [str(self.folder)], target)
        if spec is None or (spec.loader is None and _is_installed(fullname)):
            return None
        self.given.add(fullname)
        return spec

    def names(self) -> set[str]:
        """The names of all modules and packages of the folder."""
        files = {entry.stem for entry in self.folder.glob("*.py")}
        return files | {entry.parent.name for entry in self.folder.glob("*/__init__.py")}


@contextmanager
def _folder_of(path: Path) -> Iterator[list[ModuleType]]:
    """Inside the block modules of the folder of `path` can be imported; at its end the list holds those that were."""
    finder, helpers = _Beside(path.resolve().parent), list[ModuleType]()
    own = finder.names() - sys.stdlib_module_names
    hidden = _taken({name for name in sys.modules if name.partition(".")[0] in own and not _is_ours(name)})
    sys.meta_path.insert(0, finder)
    try:
        yield helpers
    finally:
        sys.meta_path.remove(finder)
        brought = _taken({n for n in sys.modules if n.partition(".")[0] in own | finder.given and not _is_ours(n)})
        sys.modules.update(hidden)
        helpers += [brought[name] for name in sorted(brought)]


def _is_installed(name: str) -> bool:
    spec = PathFinder.find_spec(name)
    return spec is not None and spec.loader is not None


def _taken(names: set[str]) -> dict[str, ModuleType]:
    return {name: sys.modules.pop(name) for name in names}


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] == "mcr_bench"
