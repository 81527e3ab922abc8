"""Python files of the user: imported under a name of their own, with the modules that lie beside them.

A module beside the file is found while the file is imported, before any installed one of that name, and is forgotten
afterwards: two files may each have a `helper.py`, and neither sees the other's.
"""

import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from traceback import walk_tb
from types import ModuleType

PREFIX = "mcr_bench_user_"
_beside: dict[str, tuple[ModuleType, ...]] = {}


def import_file(path: Path) -> ModuleType:
    """The module in `path`, run anew; what it raises passes through."""
    name = f"{PREFIX}{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _folder_of(path) as found:
        spec.loader.exec_module(module)
    for helper in found:
        _rename(helper, f"{name}.{helper.__name__}")
    _beside[name] = tuple(found)
    return module


def _rename(helper: ModuleType, name: str) -> None:
    """Its classes are looked up by their module's name when their annotations are read."""
    for value in vars(helper).values():
        if isinstance(value, type) and value.__module__ == helper.__name__:
            value.__module__ = name
    sys.modules[name] = helper


def modules_beside(module: ModuleType) -> tuple[ModuleType, ...]:
    """The modules from beside a user's file that its import has brought along; none for other modules."""
    return _beside.get(module.__name__, ())


def is_of_a_file(cls: type) -> bool:
    """Whether a class comes from a user's file, not from a package."""
    return cls.__module__.startswith(PREFIX)


def relative_import(error: BaseException) -> str:
    """What to do about a relative import, as a user's file is in no package; '' for other errors."""
    if "no known parent package" not in str(error):
        return ""
    return ". Write `import helper` or `from helper import ...`, without the dot, for a file beside it"


def late_import(error: BaseException) -> str:
    """What to do about a module beside a user's file that is imported only when a hook runs; '' for other errors."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    top = error.name.partition(".")[0]
    for frame, _ in walk_tb(error.__traceback__):
        file = Path(frame.f_code.co_filename).resolve()
        beside = (file.parent / f"{top}.py").is_file() or (file.parent / top / "__init__.py").is_file()
        if beside and str(frame.f_globals.get("__name__", "")).startswith(PREFIX):
            return f". Import {top} at the top of {file}: modules beside it are found while it is imported"
    return ""


class _Beside(MetaPathFinder):
    """Finds the top-level modules of one folder, but for names of the standard library."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None or fullname in sys.stdlib_module_names:
            return None
        return PathFinder.find_spec(fullname, [str(self.folder)], target)

    def names(self) -> set[str]:
        """Of all that lies in the folder and could be imported."""
        files = {entry.stem for entry in self.folder.glob("*.py")}
        return files | {entry.parent.name for entry in self.folder.glob("*/__init__.py")}


@contextmanager
def _folder_of(path: Path) -> Iterator[list[ModuleType]]:
    """Modules beside `path` can be imported inside; the list is filled with them at the end."""
    finder, found = _Beside(path.resolve().parent), list[ModuleType]()
    own = finder.names() - sys.stdlib_module_names
    hidden = _taken({name for name in sys.modules if name.partition(".")[0] in own and not _is_ours(name)})
    sys.meta_path.insert(0, finder)
    try:
        yield found
    finally:
        sys.meta_path.remove(finder)
        brought = _taken({n for n in sys.modules if n.partition(".")[0] in own and not _is_ours(n)})
        sys.modules.update(hidden)
        found += [brought[name] for name in sorted(brought)]


def _taken(names: set[str]) -> dict[str, ModuleType]:
    return {name: sys.modules.pop(name) for name in names}


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] == "mcr_bench"
