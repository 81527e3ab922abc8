"""The source of what a notebook or a script defines, as a file that the processes that train can import.

They do not have the notebook, and must not run the script again. Of its top-level statements those are written that the
class or function needs: itself, and the imports, functions, classes and values that it names, in their order.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from types import ModuleType

from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.errors import UserError

MAIN = "__main__"


def file_with(name: str, folder: Path, end: str = "") -> Path:
    """The file in `folder` with the definition of `name` in the main script or notebook, and of all that it needs.

    end: source that is added at its end, whose names are followed too. UserError where the source is not available.
    """
    statements = _statements(sys.modules[MAIN])
    tail = ast.parse(end).body
    wanted = _needed({name, *_names(tail)}, statements)
    if name not in {bound for one in wanted for bound in _bound(one)}:
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


def _needed(names: set[str], statements: list[ast.stmt]) -> list[ast.stmt]:
    """The statements that bind these names, and those that such statements name in turn; of several the last."""
    binding = {bound: one for one in statements for bound in _bound(one)}
    chosen = {id(one) for one in statements if _is_star(one) or _is_future(one)}
    waiting = set(names)
    while waiting:
        one = binding.get(waiting.pop())
        if one is not None and id(one) not in chosen:
            chosen.add(id(one))
            waiting |= set(_names([one]))
    return [one for one in statements if id(one) in chosen]


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a top-level statement binds."""
    if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in statement.names)
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        yield from (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))


def _names(statements: Iterable[ast.stmt]) -> Iterator[str]:
    """Every name in the statements, also those in annotations that are texts."""
    for node in (node for one in statements for node in ast.walk(one)):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            yield node.value


def _is_star(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and any(alias.name == "*" for alias in statement.names)


def _is_future(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
