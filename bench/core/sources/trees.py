"""Questions about a syntax tree, and the parts of one that never run."""

import ast
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T", bound=ast.AST)
KEPT = 512  # modules of which answers are kept: planning asks about the same ones for every method
ACCESS = {"getattr", "setattr", "delattr", "hasattr"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def nodes(tree: ast.AST) -> list[ast.AST]:
    """The tree and every node in it, as `ast.walk` gives them, without `ctx`, in half the time."""
    every = [tree]
    for node in every:  # which grows meanwhile
        for name in node._fields:
            value = None if name == "ctx" else getattr(node, name, None)
            if isinstance(value, ast.AST):
                every.append(value)
            elif isinstance(value, list):
                every += [one for one in value if isinstance(one, ast.AST)]
    return every


def copied(tree: T) -> T:
    """A tree of new nodes, without their places in the text: `copy.deepcopy` takes more than twice as long."""
    new = tree.__class__.__new__(tree.__class__)
    for name, value in ast.iter_fields(tree):
        setattr(new, name, _copied(value))
    return new


def _copied(value: object) -> object:
    if isinstance(value, list):
        return [_copied(one) for one in value]
    return copied(value) if isinstance(value, ast.AST) else value


def running(tree: ast.Module) -> ast.Module:
    """The tree without blocks for type checkers and without what only runs as a script."""
    checking = "TYPE_CHECKING" not in set(bound(tree))
    for node in nodes(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                setattr(node, name, list(_running(block, checking)))
    return tree


def _running(block: Sequence[ast.stmt], checking: bool) -> Iterator[ast.stmt]:
    for statement in block:
        never = isinstance(statement, ast.If) and (
            (checking and _last(statement.test) == "TYPE_CHECKING") or ast.unparse(statement.test) == SCRIPT
        )
        if never and isinstance(statement, ast.If):
            yield from _running(statement.orelse, checking)
        else:
            yield statement


SCRIPT = ast.unparse(ast.parse('__name__ == "__main__"'))


def _last(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def bound(tree: ast.AST) -> Iterator[str]:
    """Every name that something other than an import binds or unbinds, anywhere in the tree."""
    for node in nodes(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Global | ast.Nonlocal):
            yield from node.names
        else:
            yield from _named(node)


def _named(node: ast.AST) -> Iterator[str]:
    """Names that nodes of other kinds hold as text: of functions, classes, caught errors, patterns, type parameters."""
    if not isinstance(node, ast.alias | ast.keyword | ast.Attribute | ast.ImportFrom):
        values = (getattr(node, field, None) for field in ("name", "rest"))
        yield from (value for value in values if isinstance(value, str))


def loaded(tree: ast.AST) -> set[str]:
    """Every variable that is read."""
    return {node.id for node in nodes(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def own_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node inside that runs as the whole does, not later in one of its functions."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if not isinstance(node, Function | ast.Lambda):
            yield from own_nodes(node)


def looked_up(tree: ast.AST) -> set[str]:
    """Every attribute that is named by a text, as in `getattr(x, "name")`."""
    calls = (node for node in nodes(tree) if isinstance(node, ast.Call) and len(node.args) > 1)
    names = (call.args[1] for call in calls if isinstance(call.func, ast.Name) and call.func.id in ACCESS)
    return {node.value for node in names if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def texts(tree: ast.AST) -> set[str]:
    """Every text constant."""
    values = (node.value for node in nodes(tree) if isinstance(node, ast.Constant))
    return {value for value in values if isinstance(value, str)}


def annotations(tree: ast.AST) -> Iterator[ast.expr]:
    """Every annotation; of one that is written as text what it says."""
    for node in nodes(tree):
        given = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        yield from (unquoted(one) for one in given if isinstance(one, ast.expr))


def unquoted(annotation: ast.expr) -> ast.expr:
    """An annotation without quotation marks around the whole of it."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        with suppress(SyntaxError):
            return ast.parse(annotation.value, mode="eval").body
    return annotation


def attributes(tree: ast.AST) -> set[str]:
    """Every attribute that is read or set."""
    return {node.attr for node in nodes(tree) if isinstance(node, ast.Attribute)}


def import_paths(node: ast.AST, package: str) -> list[tuple[str, str]]:
    """(local name, dotted path of what it is bound to) of an import statement; none for other nodes.

    `import a.b` binds `a`; `from a import *` binds '*'.
    """
    if isinstance(node, ast.Import):
        return [
            (alias.asname or top(alias.name), alias.name if alias.asname else top(alias.name)) for alias in node.names
        ]
    if isinstance(node, ast.ImportFrom):
        base = absolute(node, package)
        return [(alias.asname or alias.name, f"{base}.{alias.name}") for alias in node.names]
    return []


def absolute(node: ast.ImportFrom, package: str) -> str:
    """The module that names are imported from; the relative name as it stands where there is no package."""
    relative = "." * node.level + (node.module or "")
    try:
        return importlib.util.resolve_name(relative, package)
    except ImportError:
        return relative


def top(name: str) -> str:
    """The first part of a dotted name."""
    return name.partition(".")[0]
