"""The modules that a class is made of: its own, those of its bases, and every one of the user's that they import."""

import ast
import importlib.util
import inspect
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

from mcr_bench.bench.core.sources.trees import KEPT, absolute, loaded, nodes, running, texts, top
from mcr_bench.bench.core.user_files import is_of_a_file, modules_beside
from mcr_bench.bench.errors import UserError

PACKAGE = "mcr_bench"
SHARED = f"{PACKAGE}.methods."  # methods and their terms; everything else of the package is the harness
CONTRACT = f"{SHARED}base"
LIBRARIES = {"site-packages", "dist-packages"}
# What runs code that no import statement names: then everything that could be meant counts.
LOADERS = {"importlib", "runpy", "__import__", "exec", "eval"}


@dataclass(frozen=True)
class Source:
    """One module.

    name: the one that it is imported by.
    package: where its relative imports start.
    content: of its file.
    tree: its syntax tree without what never runs; None where it is not Python, as a compiled module.
    """

    name: str
    package: str
    content: bytes
    tree: ast.Module | None


def sources_of(cls: type) -> dict[str, Source]:
    """Name -> module, for all that count; the class's own is under ''.

    Counted are the modules of its bases, methods and shared terms of this package, modules beside a user's file, the
    rest of an installed package that the class belongs to, and whatever else is imported from outside the folders of
    installed libraries. Imports inside functions are followed too. The harness counts by its version; libraries do not
    count. UserError where the class's own source cannot be read.
    """
    root = inspect.getmodule(cls)
    own = None if root is None else _source(root.__spec__, root)
    if root is None or own is None:
        raise UserError(f"the source of class {cls.__name__} cannot be read. Define it in a file.")
    beside = [_source(module.__spec__, module) for module in modules_beside(root)]
    file = Path(root.__file__ or "").resolve() if is_of_a_file(cls) else None
    walk = _Walk(root.__name__, own, [source for source in beside if source is not None], file)
    walk.follow(base.__module__ for base in cls.__mro__)
    walk.finish()
    return walk.known


class _Walk:
    """Follows imports from a root module and those beside it; `known` grows until there is nothing new.

    file: the user's file that the root module is, if it is one.
    """

    def __init__(self, root: str, own: Source, beside: Iterable[Source], file: Path | None) -> None:
        self._root, self._file = root, file
        self.known = {"": own} | {source.name: source for source in beside}
        for source in list(self.known.values()):
            self._enter(source)

    def follow(self, names: Iterable[str]) -> None:
        """Those of the modules that count."""
        for name in names:
            if name in self.known or name == self._root:
                continue
            if (late := self._beside(name)) is not None:
                self._add(late)
            elif self._counts(name):
                self._add(_source(_spec(name), sys.modules.get(name)))

    def _beside(self, name: str) -> Source | None:
        """A module beside the user's file that its import has not brought along, as of an import inside a hook."""
        if self._file is None or top(name) in sys.stdlib_module_names:
            return None
        place = self._file.parent.joinpath(*name.split("."))
        for file, package in ((place / "__init__.py", name), (place.with_suffix(".py"), name.rpartition(".")[0])):
            if file.is_file() and file != self._file:
                return _parsed(name, package, file.read_bytes())
        return None

    def finish(self) -> None:
        """Where code is loaded by other means than imports: shared terms, modules that a text names, other files."""
        trees = [source.tree for source in self.known.values() if source.tree is not None]
        if not any(LOADERS & {*loaded(tree), *map(top, _imported(tree, ""))} for tree in trees):
            return
        terms = importlib.import_module(f"{SHARED}terms")
        for folder in terms.__path__:
            self.follow(f"{terms.__name__}.{file.stem}" for file in sorted(Path(folder).glob("*.py")))
        said = {text for tree in trees for text in texts(tree)}
        self.follow(sorted(text for text in said if text in sys.modules or text.startswith(SHARED)))
        if self._file is not None:
            self.follow(file.stem for file in sorted(self._file.parent.glob("*.py")))

    def _add(self, source: Source | None) -> None:
        if source is not None and source.name not in self.known:
            self.known[source.name] = source
            self._enter(source)

    def _enter(self, source: Source) -> None:
        if source.tree is not None:
            self.follow(_imported(source.tree, source.package))

    def _counts(self, name: str) -> bool:
        """What lies beside the file hides others of that name, and is known already."""
        first, own = top(name), top(self._root)
        if first == PACKAGE:
            return name.startswith(SHARED) and name != CONTRACT
        if first in sys.stdlib_module_names or first in self.known:
            return first == own
        return first == own or not _in_library(_spec(first)) or (_in_library(_spec(own)) and first in _together(own))


@lru_cache(KEPT)
def _imported(tree: ast.Module, package: str) -> tuple[str, ...]:
    """Every module that an import statement in the tree may import, with the packages that it is in."""
    return tuple(_imports_of(tree, package))


def _imports_of(tree: ast.Module, package: str) -> Iterator[str]:
    for node in nodes(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node, package)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[: i + 1]) for i in range(len(parts)))


def _source(spec: ModuleSpec | None, module: ModuleType | None) -> Source | None:
    """The file behind a module; None for a folder without one and for what is built into Python."""
    file = spec.origin if spec is not None and spec.has_location else getattr(module, "__file__", None)
    name = spec.name if spec is not None else getattr(module, "__name__", "")
    if not file or not Path(file).is_file():
        return None
    is_package = spec is not None and spec.submodule_search_locations is not None
    return _parsed(name, name if is_package else name.rpartition(".")[0], Path(file).read_bytes())


@lru_cache(KEPT)
def _parsed(name: str, package: str, content: bytes) -> Source:
    """The module with its tree, which nobody changes: methods share most of their modules."""
    try:
        return Source(name, package, content, running(ast.parse(content)))
    except (SyntaxError, ValueError):
        return Source(name, package, content, None)


def _spec(name: str) -> ModuleSpec | None:
    """How a module was or would be imported; None where it would not. Packages around it are imported for that."""
    try:
        return importlib.util.find_spec(name)
    except Exception:  # whatever the packages around it raise, or a module without a spec
        return None


def _in_library(spec: ModuleSpec | None) -> bool:
    """Whether it lies where libraries are installed; their versions are on record. What is missing counts as one."""
    if spec is None:
        return True
    return any(map(_is_library, spec.submodule_search_locations or [spec.origin or ""]))


@cache
def _is_library(path: str) -> bool:
    place = Path(path)
    standard = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
    return bool(LIBRARIES & {*place.parts}) or not place.is_absolute() or any(map(place.is_relative_to, standard))


@cache
def _together(name: str) -> frozenset[str]:
    """The top-level modules that were installed with this one."""
    providers = packages_distributions()
    own = {*providers.get(name, ())}
    return frozenset(other for other, given in providers.items() if own & {*given})
