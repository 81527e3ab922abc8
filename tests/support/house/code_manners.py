"""What the house avoids in code: text times a condition, a choice between calls as a statement, a name `found`."""

import ast
from collections.abc import Collection, Iterator

UNTOLD = {"found"}  # names that do not say what they hold
ASKS = {
    *("bool", "isinstance", "issubclass", "any", "all", "hasattr", "callable"),
    *("startswith", "endswith", "isdecimal", "isdigit", "exists", "is_file", "is_dir", "issubset", "isdisjoint"),
}


def faults(source: str, conditions: Collection[str] = ()) -> list[str]:
    """Every fault of a module's source as `line N: what`, in the order of the lines.

    conditions: names of attributes and functions of other modules that are true or false, see `conditions_of`.
    """
    tree = ast.parse(source)
    known = {*conditions, *_assigned_conditions(tree), *conditions_of(tree)}
    nodes = sorted((node for node in ast.walk(tree) if hasattr(node, "lineno")), key=lambda node: node.lineno)
    return [f"line {node.lineno}: {fault}" for node in nodes if (fault := _fault(node, known))]


def conditions_of(tree: ast.Module) -> set[str]:
    """The names that a module declares to be true or false: fields, parameters, and functions that return a bool."""
    declared = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and _is_bool(node.annotation):
            declared.add(node.arg)
        elif isinstance(node, ast.AnnAssign) and _is_bool(node.annotation) and isinstance(node.target, ast.Name):
            declared.add(node.target.id)
        elif isinstance(node, ast.FunctionDef) and _is_bool(node.returns):
            declared.add(node.name)
    return declared


def _is_bool(annotation: ast.expr | None) -> bool:
    return isinstance(annotation, ast.Name) and annotation.id == "bool"


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
    """Whether a value is text or a list for certain: written out, formatted, made by `str`, a sum or choice of such."""
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
    return isinstance(node, ast.JoinedStr | ast.List)


def _is_condition(node: ast.expr, names: set[str]) -> bool:
    """Whether a value is true or false for certain."""
    if isinstance(node, ast.Name | ast.Attribute):
        return _called(node) in names
    if isinstance(node, ast.BoolOp):
        return any(_is_condition(part, names) for part in node.values)
    if isinstance(node, ast.Call):
        return _called(node.func) in ASKS | names
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Not)
    return isinstance(node, ast.Compare) or (isinstance(node, ast.Constant) and isinstance(node.value, bool))


def _called(node: ast.expr) -> str:
    """The last name of a dotted one; empty for other expressions."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _assigned_conditions(tree: ast.Module) -> Iterator[str]:
    """Names to which a module assigns conditions, alone or one of several."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
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
