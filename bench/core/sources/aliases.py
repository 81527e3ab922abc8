"""What the names that imports bind stand for, whatever the style of the import."""

import ast
import builtins
import sys
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from mcr_bench.bench.core.sources.closure import PACKAGE, Source
from mcr_bench.bench.core.sources.trees import KEPT, annotations, bound, import_paths, loaded, nodes, own_nodes, top

MARK = "="  # begins a dotted path that has taken the place of a local name: no name can begin so
FUTURE = "__future__"
HARMLESS = {PACKAGE, "torch", "numpy"}  # beside the standard library: an import that nothing uses does nothing


@dataclass(frozen=True)
class Names:
    """The names of one module.

    source: the module.
    tree: its syntax tree, or a changed one.
    table: local name -> dotted path, for the names that mean one thing wherever they stand. Left out are names that
        anything else binds too (a parameter, an assignment, another import), those of Python itself, those that a class
        body imports, and those whose value may be set anew behind the import's back.
    bound: every name that something other than an import binds.
    """

    source: Source
    tree: ast.Module
    table: dict[str, str]
    bound: frozenset[str] = field(repr=False)

    @property
    def paths(self) -> list[str]:
        """What every import of the module binds a name to."""
        return [path for node in nodes(self.tree) for _, path in import_paths(node, self.source.package)]

    def meaning(self, node: ast.expr) -> str:
        """The dotted path that an expression means; '' for any other expression."""
        if isinstance(node, ast.Attribute):
            inner = self.meaning(node.value)
            return f"{inner}.{node.attr}" if inner else ""
        if not isinstance(node, ast.Name) or node.id in self.bound:
            return ""
        own = f"builtins.{node.id}" if node.id in dir(builtins) else ""
        return self.table.get(node.id, own)


def names_of(source: Source, tree: ast.Module, modules: Collection[str], rebound: Collection[str]) -> Names:
    """The names of a module.

    modules: the names of all modules of ours.
    rebound: attributes of modules and global names that some of the code sets anew.
    """
    targets, taken = _kept_bindings(source) if tree is source.tree else _bindings(tree, source.package)
    table = {
        local: path
        for local, (path, *others) in ((local, sorted(paths)) for local, paths in targets.items())
        if not others
        and local not in taken
        and local not in dir(builtins)
        and not local.startswith("__")
        and path.rpartition(".")[2] not in rebound
        and (path == (inner := f"{source.name}.{local}") or inner not in modules)
    }
    return Names(source, tree, table, taken)


@lru_cache(KEPT)
def _kept_bindings(source: Source) -> tuple[dict[str, set[str]], frozenset[str]]:
    assert source.tree is not None
    return _bindings(source.tree, source.package)


def _bindings(tree: ast.Module, package: str) -> tuple[dict[str, set[str]], frozenset[str]]:
    """Local name -> the dotted paths that imports bind it to; and the names that anything else, or a class, binds."""
    targets: dict[str, set[str]] = defaultdict(set)
    for node in nodes(tree):
        for local, path in import_paths(node, package):
            targets[local].add(path)
    return targets, frozenset({*bound(tree), *_of_class_bodies(tree, package)})


def _of_class_bodies(tree: ast.Module, package: str) -> set[str]:
    bodies = (part for node in nodes(tree) if isinstance(node, ast.ClassDef) for part in own_nodes(node))
    return {local for node in bodies for local, _ in import_paths(node, package)}


def resolved(path: str, modules: Mapping[str, Mapping[str, str]]) -> str:
    """The path without detours over modules that only hand a name on. modules: of ours, with their tables."""
    seen: set[str] = set()
    while path not in seen:
        seen.add(path)
        path = _stepped(path, modules)
    return path


def _stepped(path: str, modules: Mapping[str, Mapping[str, str]]) -> str:
    parts = path.split(".")
    for i in range(len(parts) - 1, 0, -1):
        if (module := ".".join(parts[:i])) in modules:
            return ".".join([modules[module].get(parts[i], f"{module}.{parts[i]}"), *parts[i + 1 :]])
    return path


class Plain(ast.NodeTransformer):
    """Replaces imported names by dotted paths, and leaves out the imports that only bound them.

    An import that something else decides about (in a try, an if, a class body) stays where it is.
    """

    def __init__(self, names: Names, modules: Mapping[str, Mapping[str, str]]) -> None:
        self._names, self._modules = names, modules
        self._table = modules[names.source.name]

    def visit_Name(self, node: ast.Name) -> ast.expr:
        path = self._table.get(node.id)
        return node if path is None else self._marked(path)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        value = self.visit(node.value)
        if isinstance(value, ast.Name) and value.id.startswith(MARK):
            return self._marked(f"{value.id.removeprefix(MARK)}.{node.attr}")
        return ast.Attribute(value, node.attr, node.ctx)

    def _marked(self, path: str) -> ast.Name:
        return ast.Name(MARK + resolved(path, self._modules), ast.Load())

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self._without_imports(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._without_imports(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._without_imports(node)

    def _without_imports(self, node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.body = [part for part in node.body if not self._only_binds(part)]
        return self.generic_visit(node)

    def _only_binds(self, node: ast.stmt) -> bool:
        pairs = import_paths(node, self._names.source.package)
        future = isinstance(node, ast.ImportFrom) and node.module == FUTURE
        return future or (bool(pairs) and all(local in self._table for local, _ in pairs))

    def visit_Import(self, node: ast.Import) -> ast.AST:
        return self._kept(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        return self._kept(node)

    def _kept(self, node: ast.Import | ast.ImportFrom) -> ast.AST:
        """Its dotted paths, each with its local name where that matters."""
        pairs = import_paths(node, self._names.source.package)
        if isinstance(node, ast.Import):  # `import a.b` binds a, and imports a.b
            pairs = [(local, alias.name) for (local, _), alias in zip(pairs, node.names, strict=True)]
        return ast.Import([ast.alias(path, None if local in self._table else local) for local, path in pairs])


def unused_imports(names: Names, counted: Collection[str]) -> list[str]:
    """Modules that are imported and never named, annotations included, unless their import is known to do nothing.

    counted: modules of ours, whose code counts already.
    """
    return sorted(_unread(names.tree, names.source.package) - {"", *map(top, counted)})


@lru_cache(KEPT)
def _unread(tree: ast.Module, package: str) -> frozenset[str]:
    """The top-level modules that an import binds to a name that nothing reads, without those that do nothing."""
    read = loaded(tree).union(*map(loaded, annotations(tree)))
    paths = [pair for node in nodes(tree) for pair in import_paths(node, package)]
    return frozenset({top(path) for local, path in paths if local not in read} - HARMLESS - sys.stdlib_module_names)


def own_imports(names: Names, counted: Collection[str]) -> list[str]:
    """The modules of ours that a file imports, in its order: what they do to one another may depend on it."""
    paths = (path for node in names.tree.body for _, path in import_paths(node, names.source.package))
    ours = (max((name for name in counted if f"{path}.".startswith(f"{name}.")), key=len, default="") for path in paths)
    imported = dict.fromkeys(name for name in ours if name and top(name) != PACKAGE)
    return list(imported) if len(imported) > 1 else []
