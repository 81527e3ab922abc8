"""Digest of a method's source without comments and docstrings: an edited method is another method."""

import ast
import hashlib
import importlib
import inspect
from functools import cache
from types import ModuleType

from mcr_bench.bench.core.user_files import modules_beside

SHARED = "mcr_bench.methods.terms"


def source_digest(cls: type) -> str:
    """16 hex digits over the class's module, every shared term that it reaches by imports, and files beside its own."""
    return _digest_of(inspect.getmodule(cls))


@cache
def _digest_of(module: ModuleType | None) -> str:
    trees: dict[str, str] = {}
    _collect(module, trees, is_root=True)
    for helper in modules_beside(module) if module is not None else ():
        _collect(helper, trees)
    return hashlib.sha256("\n".join(trees[name] for name in sorted(trees)).encode()).hexdigest()[:16]


def _collect(module: ModuleType | None, trees: dict[str, str], *, is_root: bool = False) -> None:
    assert module is not None
    key = "" if is_root else module.__name__
    if key in trees:
        return
    tree = ast.parse(inspect.getsource(module))
    trees[key] = ast.unparse(_without_docstrings(tree))  # unlike a dump, the same in every version of Python
    for name in _imported(tree):
        _collect(importlib.import_module(name), trees)


def _imported(tree: ast.Module) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == SHARED:
            names += [f"{SHARED}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
    return [name for name in names if name.startswith(f"{SHARED}.")]


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree
