"""The names that a statement of Python binds, changes and needs."""

import ast
import symtable
from collections.abc import Iterator

DEFINITIONS = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def bound_by(statement: ast.stmt) -> Iterator[str]:
    """The names that a top-level statement binds."""
    if isinstance(statement, DEFINITIONS):
        yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in statement.names)
    else:
        yield from (node.id for node in _targets(statement) if isinstance(node.ctx, ast.Store))


def changed_by(statement: ast.stmt) -> Iterator[str]:
    """The names whose values a top-level statement may change: `x` of `x += 1`, `x[0] = 1`, `x.y = 1` and `x.add(1)`.

    >>> [*changed_by(ast.parse("x[i].y = 1").body[0])], [*changed_by(ast.parse("x.append(2)").body[0])]
    (['x'], ['x'])
    """
    changed: list[ast.expr] = []
    if isinstance(statement, ast.AugAssign):
        yield _root(statement.target)
    elif isinstance(statement, ast.AnnAssign):
        changed = [statement.target]
    elif isinstance(statement, ast.Assign):
        changed = statement.targets
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        changed = [statement.value.func]
    yield from (_root(one) for one in changed if isinstance(one, ast.Subscript | ast.Attribute))


def names_in(statement: ast.stmt) -> set[str]:
    """The names of the module that a statement needs, also those in annotations that are texts.

    Parameters and local variables of its functions are none of them, nor are other texts.

    >>> sorted(names_in(ast.parse("def f(a: 'A') -> None: b = 1; return g(a, b, 'c')").body[0]))
    ['A', 'g']
    """
    table = symtable.symtable(ast.unparse(statement), "statement", "exec")
    return {*_globals(table), *_in_annotations(statement), *changed_by(statement)}


def _targets(statement: ast.stmt) -> Iterator[ast.Name]:
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    else:
        targets = [statement.target] if isinstance(statement, ast.AnnAssign) and statement.value is not None else []
    yield from (node for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))


def _root(target: ast.expr) -> str:
    """`x` of `x.y[0]`; '' where it has no name in front."""
    while isinstance(target, ast.Subscript | ast.Attribute):
        target = target.value
    return target.id if isinstance(target, ast.Name) else ""


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    for symbol in table.get_symbols():
        # In the body of a class a name that is assigned later there may still be one of the module.
        of_module = symbol.is_global() or table.get_type() in ("module", "class")
        if symbol.is_referenced() and of_module:
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _globals(inner)


def _in_annotations(statement: ast.stmt) -> Iterator[str]:
    for node in ast.walk(statement):
        for field in ("annotation", "returns"):
            if isinstance(given := getattr(node, field, None), ast.expr):
                yield from _quoted(given)


def _quoted(annotation: ast.expr) -> Iterator[str]:
    """The names in the texts of an annotation; those of `Literal` are values."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value).endswith("Literal"):
        return
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        yield from _names_of(annotation.value)
    for inner in ast.iter_child_nodes(annotation):
        if isinstance(inner, ast.expr):
            yield from _quoted(inner)


def _names_of(text: str) -> Iterator[str]:
    try:
        expression = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError):  # such as the texts of `Annotated`
        return
    yield from (node.id for node in ast.walk(expression) if isinstance(node, ast.Name))
