"""What the house avoids in code: text times a condition, a choice between calls as a statement, a name `found`."""

import ast
from collections.abc import Iterator

UNTOLD = {"found"}  # names that do not say what they hold
ASKS = {"bool", "isinstance", "issubclass", "any", "all", "hasattr", "callable"}
METHODS_THAT_ASK = {"startswith", "endswith", "isdecimal", "isdigit", "exists", "is_file", "is_dir", "any", "all"}


def faults(source: str) -> list[str]:
    """Every fault of a module's source as `line N: what`, in the order of the lines."""
    tree = ast.parse(source)
    conditions = set(_names_of_conditions(tree))
    nodes = sorted((node for node in ast.walk(tree) if hasattr(node, "lineno")), key=lambda node: node.lineno)
    return [f"line {node.lineno}: {fault}" for node in nodes if (fault := _fault(node, conditions))]


def _fault(node: ast.AST, conditions: set[str]) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.IfExp):
        return "a choice between two calls as a statement"
    if _bound(node) & UNTOLD:
        return f"{', '.join(_bound(node) & UNTOLD)} as a name"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        pairs = ((node.left, node.right), (node.right, node.left))
        if any(_is_text(text) and _is_condition(other, conditions) for text, other in pairs):
            return "text times a condition"
    return ""


def _bound(node: ast.AST) -> set[str]:
    """The names that a node binds: variables, parameters, functions and what an import or handler calls something."""
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Store) else set()
    if isinstance(node, ast.Attribute):
        return {node.attr} if isinstance(node.ctx, ast.Store) else set()
    if isinstance(node, ast.arg):
        return {node.arg}
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.alias):
        return {node.asname or node.name}
    return {str(node.name)} if isinstance(node, ast.ExceptHandler | ast.MatchAs) else set()


def _is_text(node: ast.expr) -> bool:
    """Whether a value is text for certain: written out, formatted, made by `str`, or a sum or choice of such."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _is_text(node.left) or _is_text(node.right)
    if isinstance(node, ast.IfExp):
        return _is_text(node.body) or _is_text(node.orelse)
    if isinstance(node, ast.Call):
        return (isinstance(node.func, ast.Name) and node.func.id == "str") or (
            isinstance(node.func, ast.Attribute) and node.func.attr in ("join", "format")
        )
    return isinstance(node, ast.JoinedStr)


def _is_condition(node: ast.expr, names: set[str]) -> bool:
    """Whether a value is true or false for certain."""
    if isinstance(node, ast.Name):
        return node.id in names
    if isinstance(node, ast.BoolOp):
        return any(_is_condition(part, names) for part in node.values)
    if isinstance(node, ast.Call):
        called = node.func
        if isinstance(called, ast.Name):
            return called.id in ASKS
        return isinstance(called, ast.Attribute) and called.attr in METHODS_THAT_ASK
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Not)
    return isinstance(node, ast.Compare) or (isinstance(node, ast.Constant) and isinstance(node.value, bool))


def _names_of_conditions(tree: ast.Module) -> Iterator[str]:
    """Names that a module gives conditions: assigned, one of several too, or annotated with `bool`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            name = node.arg if isinstance(node, ast.arg) else getattr(node.target, "id", "")
            if isinstance(node.annotation, ast.Name) and node.annotation.id == "bool":
                yield name
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _assigned(target, node.value)
        elif isinstance(node, ast.NamedExpr) and _is_condition(node.value, set()):
            yield node.target.id


def _assigned(target: ast.expr, value: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, its_value in zip(target.elts, value.elts, strict=False):
            yield from _assigned(one, its_value)
    elif isinstance(target, ast.Name) and _is_condition(value, set()):
        yield target.id
