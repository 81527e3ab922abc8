"""What code does that looks at itself: it decides how much of the words and names of its source must count."""

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from mcr_bench.bench.core.sources.trees import ACCESS, KEPT, attributes, bound, import_paths, loaded, looked_up, nodes

SOURCE = {"getsource", "getsourcelines", "getsourcefile", "findsource", "linecache", "getcomments"}
DOCUMENTATION = {"__doc__", "getdoc", "cleandoc"}
ANNOTATIONS = {
    *("__annotations__", "get_type_hints", "get_annotations", "signature", "getfullargspec", "__signature__"),
    *("singledispatch", "singledispatchmethod", "script", "jit", "custom_op", "infer_schema", "annotationlib"),
    *("beartype", "typeguard", "jaxtyping", "pydantic", "attr", "attrs"),
}
METADATA = {"fields", "metadata", "declared", "__dataclass_fields__"}
BY_TEXT = {"globals", "locals", "vars", "dir", "eval", "exec", "compile", "__import__"}
BY_TABLE = {"__dict__", "__globals__", "__builtins__", "f_globals", "f_locals", "getmembers", "attrgetter", "importlib"}


@dataclass(frozen=True)
class Traits:
    """How code looks at itself, in any of the modules that belong together.

    source: it reads the text of its own source.
    documentation: it reads docstrings.
    annotations: it reads annotations, or a library does for it.
    metadata: it reads the metadata of dataclass fields, where help texts are.
    by_text: it looks names up by texts that are computed, or takes in all names of a module.
    attributes: the names that are read as attributes or imported, also those written as a constant text.
    rebound: attributes of imported modules and global names that are set anew.
    wraps: it calls `dataclass` otherwise than above a class, so that any class may become one.
    """

    source: bool
    documentation: bool
    annotations: bool
    metadata: bool
    by_text: bool
    attributes: frozenset[str]
    rebound: frozenset[str]
    wraps: bool


def traits_of(trees: Mapping[str, ast.Module]) -> Traits:
    """What any of the modules does, for it may do so to the others."""
    mentioned = {name for tree in trees.values() for name in _mentioned(tree)}
    source = bool(mentioned & SOURCE)
    run = any(map(_runs, trees.values()))
    return Traits(
        source=source,
        documentation=source or bool(mentioned & DOCUMENTATION),
        annotations=source or bool(mentioned & ANNOTATIONS),
        metadata=source or bool(mentioned & METADATA) or run,
        by_text=any(map(_by_text, trees.values())),
        attributes=frozenset(mentioned),
        rebound=frozenset().union(*map(_rebound, trees.values())),
        wraps=any(map(_wraps, trees.values())),
    )


@lru_cache(KEPT)
def _runs(tree: ast.Module) -> bool:
    """Whether it runs code that is a text."""
    return bool({"eval", "exec"} & loaded(tree))


@lru_cache(KEPT)
def _mentioned(tree: ast.Module) -> set[str]:
    imported = {part for _, path in _imports(tree) for part in path.split(".")}
    return (
        attributes(tree) | looked_up(tree) | imported | (loaded(tree) & {"__doc__", "__annotations__", "__builtins__"})
    )


@lru_cache(KEPT)
def _imports(tree: ast.Module) -> list[tuple[str, str]]:
    return [pair for node in nodes(tree) for pair in import_paths(node, "")]


@lru_cache(KEPT)
def _wraps(tree: ast.Module) -> bool:
    names = {local for local, path in _imports(tree) if path.endswith("dataclass")} | {"dataclass"}
    above = {
        id(inner)
        for node in nodes(tree)
        if isinstance(node, ast.ClassDef)
        for decorator in node.decorator_list
        for inner in nodes(decorator)
    }
    used = (node for node in nodes(tree) if isinstance(node, ast.Name | ast.Attribute) and id(node) not in above)
    return any((node.id if isinstance(node, ast.Name) else node.attr) in names for node in used)


@lru_cache(KEPT)
def _rebound(tree: ast.Module) -> frozenset[str]:
    """Names under `global`, and attributes of what imports bind that are assigned or deleted."""
    return frozenset(_set_anew(tree))


def _set_anew(tree: ast.Module) -> Iterator[str]:
    imported = {local for local, _ in _imports(tree)}
    for node in nodes(tree):
        if isinstance(node, ast.Global):
            yield from node.names
        elif isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load) and _root(node) in imported:
            yield node.attr


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


@lru_cache(KEPT)
def _by_text(tree: ast.Module) -> bool:
    """Whether names may be looked up that no reader sees."""
    star = any(local == "*" for local, _ in _imports(tree))
    system = {local for local, path in _imports(tree) if path == "sys"}
    modules = any(path == "sys.modules" for _, path in _imports(tree)) or any(
        _is_modules(node, system) for node in nodes(tree)
    )
    named = (loaded(tree) - set(bound(tree))) & BY_TEXT or _mentioned(tree) & BY_TABLE
    return star or modules or bool(named) or _computed(tree)


def _is_modules(node: ast.AST, system: Collection[str]) -> bool:
    """Whether it is `sys.modules`; a network's modules are another matter."""
    return isinstance(node, ast.Attribute) and node.attr == "modules" and _root(node) in system


def _computed(tree: ast.Module) -> bool:
    """Whether an attribute is looked up by a text that is not written there."""
    constant = {
        id(node.func)
        for node in nodes(tree)
        if isinstance(node, ast.Call) and len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
    }
    named = (node for node in nodes(tree) if isinstance(node, ast.Name) and node.id in ACCESS)
    return any(id(node) not in constant for node in named)
