"""A syntax tree as text, the same in every version of Python."""

import ast
from collections.abc import Sequence

SILENT = {"ctx", "type_comment", "type_ignores", "kind"}  # fields that change nothing
Item = ast.AST | str | list[object]


def form(tree: ast.Module, documentation: bool) -> str:
    """Every node with its fields that are set. documentation: whether statements that are mere constants count."""
    parts: list[str] = []
    waiting: list[object] = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, _Text):
            parts.append(item)
        elif isinstance(item, ast.AST):
            waiting += reversed(_opened(item))
        elif isinstance(item, list):
            kept = [one for one in item if not _does_nothing(one, documentation)]
            waiting += reversed([_Text("["), *kept, _Text("]")])
        else:
            parts.append(f"{type(item).__name__}:{item!r},")
    return "".join(parts)


class _Text(str):
    """Punctuation, not a value of the tree."""


def _opened(node: ast.AST) -> Sequence[object]:
    inner: list[object] = [_Text(f"{type(node).__name__}(")]
    for name, value in ast.iter_fields(node):
        if name not in SILENT and value is not None and value != []:
            inner += [_Text(f"{name}="), value]
    return [*inner, _Text(")")]


def _does_nothing(item: object, documentation: bool) -> bool:
    if isinstance(item, ast.Pass):
        return True
    return not documentation and isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)
