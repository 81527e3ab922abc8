"""The source of what a notebook or a script defines, as a file that the processes that train can import.

They do not have the notebook, and must not run the script again. Of its top-level statements those are written that the
class or function needs: itself, and the imports, functions, classes and values that it names, in their order.
"""

import ast
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import ModuleType

from mcr_bench.bench.api.names_of import DEFINITIONS, bound_by, changed_by, names_in
from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.errors import UserError, one_line

MAIN = "__main__"
PACKAGE, RUN = "mcr_bench", "run"
LONGEST = 60  # characters of a statement that a message quotes


def file_with(name: str, folder: Path, end: str = "") -> Path:
    """The file in `folder` with the definition of `name` in the main script or notebook, and of all that it needs.

    end: source that is added at its end, whose names are followed too. UserError where the source is not available.
    """
    statements = _statements(sys.modules[MAIN])
    tail = ast.parse(end).body
    wanted = _needed({name, *(named for one in tail for named in names_in(one))}, statements, name)
    if name not in {bound for one in wanted for bound in bound_by(one)}:
        raise UserError(
            f"the source of {name} is not available: this Python was not started with a script or a notebook. Define "
            "it in a file, and give `FILE.py:CLASS`."
        )
    return written("\n\n".join(ast.unparse(one) for one in [*wanted, *tail]) + "\n", name, folder)


def written(text: str, name: str, folder: Path) -> Path:
    """A file in `folder` with this text, whose name begins with `name`; the same text is the same file."""
    path = folder / f"{name}_{sha256(text.encode()).hexdigest()[:8]}.py"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    return path


def _statements(main: ModuleType) -> list[ast.stmt]:
    """The top-level statements of the script, or of all cells that the notebook has run."""
    file = getattr(main, "__file__", None)
    cells: list[str] = vars(main).get("In", [])
    texts = [Path(file).read_text(encoding="utf-8")] if file and not cells else cells
    return [statement for text in texts for statement in _parsed(text)]


def _parsed(text: str) -> list[ast.stmt]:
    try:
        return ast.parse(text).body
    except SyntaxError:  # a cell that could not run
        return []


def _needed(names: set[str], statements: list[ast.stmt], name: str) -> list[ast.stmt]:
    """The statements that bind these names, and those that such statements name in turn, each after what it needs.

    Of several that bind a name it is the last, with the assignments and calls of methods that change the value after
    it. UserError where one of them would start a comparison, itself or by a function.
    """
    needs = _needs(names, statements)
    starting = {number for number in needs if _starts_runs(statements[number], statements)}
    for number, one in ((number, statements[number]) for number in needs):
        if not isinstance(one, DEFINITIONS) and starting & {number, *needs[number]}:
            raise UserError(
                f"{name} needs the value of `{one_line(ast.unparse(one), LONGEST)}`, and processes that train must not "
                "start a comparison. Write the value itself in its place."
            )
    first = [*filter(_is_future, statements), *filter(_is_star, statements)]
    rest = [statements[number] for number in _ordered(needs)]
    return [*dict.fromkeys([*first, *rest])]


def _needs(names: set[str], statements: list[ast.stmt]) -> dict[int, set[int]]:
    """Number of each needed statement -> the numbers of all those that it needs, directly or not."""
    binding = _binding(statements)
    direct: dict[int, set[int]] = {}
    waiting = {number for name in names for number in binding.get(name, ())}
    while waiting:
        number = waiting.pop()
        direct[number] = {other for name in names_in(statements[number]) for other in binding.get(name, ())}
        waiting |= direct[number] - direct.keys()
    return {number: _reached(number, direct) for number in direct}


def _binding(statements: list[ast.stmt]) -> dict[str, list[int]]:
    """Name -> the number of the last statement that binds it, and of those after it that change its value.

    What changes an imported module is none of them: it is not of the class, and would be another file at every turn.
    """
    numbers: dict[str, list[int]] = {}
    for number, one in enumerate(statements):
        for name in bound_by(one):
            before = numbers.get(name, []) if isinstance(one, ast.Assign) and name in names_in(one) else []
            numbers[name] = [*before, number]
        for name in changed_by(one):
            known = numbers.setdefault(name, [])
            if known and isinstance(statements[known[0]], ast.Import | ast.ImportFrom):
                continue
            if known and _repeats(statements[known[-1]], one):
                known.pop()
            known.append(number)
    return numbers


def _repeats(earlier: ast.stmt, later: ast.stmt) -> bool:
    """Whether a cell that was run again has set the same constant again."""
    same = isinstance(later, ast.Assign) and isinstance(later.value, ast.Constant)
    return same and ast.dump(earlier) == ast.dump(later)


def _reached(number: int, direct: Mapping[int, set[int]]) -> set[int]:
    reached, waiting = set[int](), set(direct[number])
    while waiting:
        other = waiting.pop()
        reached.add(other)
        waiting |= direct[other] - reached
    return reached


def _ordered(needs: Mapping[int, set[int]]) -> list[int]:
    """The numbers in their order, but each after those that it needs: a cell that was run again is behind others.

    Those that need each other stay in their order.
    """
    ordered = dict[int, None]()

    def add(number: int) -> None:
        for other in sorted(needs[number]):
            if other not in ordered and number not in needs[other]:
                add(other)
        ordered[number] = None

    for number in sorted(needs):
        if number not in ordered:
            add(number)
    return [*ordered]


def _starts_runs(statement: ast.stmt, statements: list[ast.stmt]) -> bool:
    """Whether it calls `run` of this package."""
    imports = [one for one in statements if isinstance(one, ast.Import | ast.ImportFrom)]
    texts = {alias.asname or alias.name: one for one in imports for alias in one.names}
    for call in (node for node in ast.walk(statement) if isinstance(node, ast.Call)):
        module, _, called = ast.unparse(call.func).rpartition(".")
        origin = texts.get(module or called)
        if called == RUN and isinstance(origin, ast.Import) and any(one.name == PACKAGE for one in origin.names):
            return True
        own = origin.names if isinstance(origin, ast.ImportFrom) and origin.module == PACKAGE else []
        if not module and any(one.name == RUN and called == (one.asname or RUN) for one in own):
            return True
    return False


def _is_star(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and any(alias.name == "*" for alias in statement.names)


def _is_future(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
