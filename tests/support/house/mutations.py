"""One-line mutations of the source: drawn from the syntax trees, the same for the same seed, spread over the rooms."""

import ast
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOMS = ("bench", "methods")
FLIPPED = {
    **{"<": ">=", ">=": "<", ">": "<=", "<=": ">", "==": "!=", "!=": "=="},
    **{"is not": "is", "is": "is not", "not in": "in", "in": "not in"},
}
OPERATORS = {
    **{ast.Lt: "<", ast.GtE: ">=", ast.Gt: ">", ast.LtE: "<=", ast.Eq: "==", ast.NotEq: "!="},
    **{ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in"},
}
SWAPPED = {ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*")}
NEGATED = {"bool": "not ({})", "float": "-({})", "int": "-({})", "Tensor": "-({})"}
TEXTS = (ast.JoinedStr, ast.Raise, ast.Assert)  # messages: what stands in them is for people
MESSAGES = {"UserError", "say", "setting", "unknown"}


@dataclass(frozen=True)
class Mutation:
    """One change of one line. path: of the file below the root; start, end: columns of what is replaced, in bytes."""

    path: str
    line: int
    start: int
    end: int
    kind: str
    before: str
    after: str

    @property
    def name(self) -> str:
        """`bench/core/seeds.py:26:13:compare`, the same as long as the file is."""
        return f"{self.path}:{self.line}:{self.start}:{self.kind}"

    def applied(self, text: str) -> str:
        """The text of the file with the change."""
        lines = text.encode().split(b"\n")
        line = lines[self.line - 1]
        assert line[self.start : self.end].decode() == self.before
        lines[self.line - 1] = line[: self.start] + self.after.encode() + line[self.end :]
        return b"\n".join(lines).decode()


def drawn(root: Path, count: int, seed: int) -> list[Mutation]:
    """So many mutations of the tree below `root`: rooms and kinds take turns, in an order of chance."""
    rooms: dict[str, list[Mutation]] = defaultdict(list)
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            for mutation in mutations(path.read_text(encoding="utf-8"), path.relative_to(root).as_posix()):
                rooms[mutation.path.rpartition("/")[0]].append(mutation)
    generator = random.Random(seed)
    orders = [_by_turns(rooms[room], generator) for room in sorted(rooms)]
    turns = [(turn, number, one) for number, order in enumerate(orders) for turn, one in enumerate(order)]
    return [one for *_, one in sorted(turns, key=lambda item: item[:2])[:count]]


def _by_turns(members: Sequence[Mutation], generator: random.Random) -> list[Mutation]:
    """All of them, in an order in which the kinds take turns."""
    kinds: dict[str, list[Mutation]] = defaultdict(list)
    for one in generator.sample(members, len(members)):
        kinds[one.kind].append(one)
    order = generator.sample(sorted(kinds), len(kinds))
    turns = [(turn, order.index(kind), one) for kind, ones in kinds.items() for turn, one in enumerate(ones)]
    return [one for *_, one in sorted(turns, key=lambda item: item[:2])]


def mutations(text: str, path: str) -> list[Mutation]:
    """Every mutation of a file whose result is still Python; texts, annotations and messages are left alone."""
    lines = text.encode().split(b"\n")
    made = []
    for node in _acting(ast.parse(text)):
        for kind, line, start, end, after in _changes(node, lines):
            one = Mutation(path, line, start, end, kind, lines[line - 1][start:end].decode(), after)
            if one.before != after and _parses(one.applied(text)):
                made.append(one)
    return list({one.name: one for one in made}.values())


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def _acting(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that do something, without those inside texts, annotations, decorators and messages."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, TEXTS) and not _is_message(child):
                yield from _acting(child)


def _is_message(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    return name in MESSAGES


Change = tuple[str, int, int, int, str]


def _changes(node: ast.AST, lines: Sequence[bytes]) -> Iterator[Change]:
    """(kind, line, first and last column, new text) of what can be done to a node that stands in one line."""
    if isinstance(node, ast.Compare):
        yield from _comparisons(node, lines)
    elif isinstance(node, ast.BinOp) and type(node.op) in SWAPPED and not _is_text(node):
        old, new = SWAPPED[type(node.op)]
        yield from _between("operator", node.left, node.right, old, new, lines)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not) and node.lineno == node.operand.lineno:
        yield "not", node.lineno, node.col_offset, node.operand.col_offset, ""
    elif isinstance(node, ast.Constant) and node.lineno == node.end_lineno and node.end_col_offset is not None:
        if (new_value := _another(node.value)) is not None:
            yield "constant", node.lineno, node.col_offset, node.end_col_offset, new_value
    elif isinstance(node, ast.FunctionDef):
        yield from _returns(node, lines)


def _another(value: object) -> str | None:
    if isinstance(value, bool):
        return repr(not value)
    if isinstance(value, int):
        return repr(value + 1)
    return repr(value * 2 if value else 1.0) if isinstance(value, float) else None


def _comparisons(node: ast.Compare, lines: Sequence[bytes]) -> Iterator[Change]:
    left = node.left
    for operator, right in zip(node.ops, node.comparators, strict=True):
        old = OPERATORS[type(operator)]
        yield from _between("compare", left, right, old, FLIPPED[old], lines)
        left = right


def _between(
    kind: str, left: ast.expr, right: ast.expr, old: str, new: str, lines: Sequence[bytes]
) -> Iterator[Change]:
    """The operator between two expressions, where both and it stand in one line."""
    if left.end_lineno != right.lineno or left.end_col_offset is None:
        return
    gap = lines[right.lineno - 1][left.end_col_offset : right.col_offset]
    if gap.count(old.encode()) == 1:
        start = left.end_col_offset + gap.index(old.encode())
        yield kind, right.lineno, start, start + len(old), new


def _is_text(node: ast.BinOp) -> bool:
    """Whether texts or lists are put together, where another operator is an error at once."""
    parts = (node.left, node.right)
    return any(isinstance(p, ast.JoinedStr | ast.List | ast.Tuple) or _is_word(p) for p in parts)


def _is_word(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _returns(function: ast.FunctionDef, lines: Sequence[bytes]) -> Iterator[Change]:
    """What a function returns, negated, where its annotation says that it can be."""
    form = NEGATED.get(ast.unparse(function.returns)) if function.returns is not None else None
    for node in ast.walk(function) if form else ():
        value = node.value if isinstance(node, ast.Return) else None
        if form and value is not None and value.lineno == value.end_lineno:
            text = lines[value.lineno - 1][value.col_offset : value.end_col_offset].decode()
            yield "return", value.lineno, value.col_offset, value.end_col_offset or 0, form.format(text)
