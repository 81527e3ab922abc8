"""The floors of the house as `docs/architecture.md` lists them, and what in the source does not keep to them."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "mcr_bench"
TOPS = ("bench", "methods", "datasets")
APART = ({"bench/report", "bench/figures"},)  # rooms of which none imports another


@dataclass(frozen=True)
class Import:
    """One import of a module of this project by another one.

    source, target: paths below the root without suffix, a package by its folder.
    typing: whether it stands under TYPE_CHECKING.
    """

    source: str
    target: str
    typing: bool


def floors_of(root: Path) -> dict[str, str]:
    """Room -> its sentence, ground floor first, from the table of floors in `docs/architecture.md`.

    A row may list several files, separated by commas, that stand in that order.
    """
    text = (root / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]+`) \| (.+?) \|$", text, re.MULTILINE)
    return {
        room.removesuffix("/").removesuffix(".py"): sentence
        for rooms, sentence in rows
        for room in re.findall(r"`([^`]+)`", rooms)
    }


def sources(root: Path) -> dict[str, Path]:
    """Every module by its path below the root without suffix, a package by its folder."""
    files = [path for top in TOPS for path in sorted((root / top).rglob("*.py"))]
    names = {path: path.relative_to(root).with_suffix("").as_posix().removesuffix("/__init__") for path in files}
    return {name: path for path, name in names.items()}


def imports_of(root: Path) -> list[Import]:
    """All imports of modules of this project by one another, wherever they stand in a file."""
    modules = sources(root)
    return [
        Import(name, target, typing)
        for name, path in modules.items()
        for target, typing in _imported(ast.parse(path.read_text(encoding="utf-8")), modules)
        if target != name
    ]


def room_of(module: str, floors: Mapping[str, str]) -> str | None:
    """The room that a module stands in: the listed file or folder that holds it most closely."""
    holding = [room for room in floors if module == room or module.startswith(f"{room}/")]
    return max(holding, key=len, default=None)


def homeless(root: Path) -> list[str]:
    """Modules that stand in no listed room; the package `bench` itself needs none."""
    floors = floors_of(root)
    return [name for name in sources(root) if name != "bench" and room_of(name, floors) is None]


def upward(root: Path) -> list[str]:
    """Imports of a room that stands below the importing one in the table, and between rooms that are kept apart."""
    floors = floors_of(root)
    order = {room: floor for floor, room in enumerate(floors)}
    wrong = []
    for one in imports_of(root):
        here, there = room_of(one.source, floors), room_of(one.target, floors)
        if here is None or there is None or here == there or _may_look_up(one):
            continue
        if order[there] > order[here] or {here, there} in APART:
            wrong.append(f"{one.source} imports {one.target}")
    return wrong


def circles(root: Path) -> list[list[str]]:
    """Groups of files, and of folders, that import one another in a circle; types of a `base.py` do not count."""
    edges = [(one.source, one.target) for one in imports_of(root) if not _may_look_up(one)]
    floors = floors_of(root)
    rooms = [(room_of(a, floors) or a, room_of(b, floors) or b) for a, b in edges]
    return [*_circles(edges), *_circles([(a, b) for a, b in rooms if a != b])]


def _may_look_up(one: Import) -> bool:
    return one.typing and one.target.endswith("/base")


def _imported(tree: ast.Module, modules: Mapping[str, Path]) -> Iterator[tuple[str, bool]]:
    for node, typing in _walk(tree, False):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            whole = name.removeprefix(f"{PACKAGE}.").replace(".", "/")
            target = whole if whole in modules else whole.rpartition("/")[0]
            if name.startswith(f"{PACKAGE}.") and target in modules:
                yield target, typing


def _walk(node: ast.AST, typing: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Every node, with whether it stands in the body of `if TYPE_CHECKING`."""
    yield node, typing
    guarded = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    for child in ast.iter_child_nodes(node):
        inside = isinstance(node, ast.If) and child in node.body
        yield from _walk(child, typing or (guarded and inside))


def _circles(edges: list[tuple[str, str]]) -> list[list[str]]:
    """The members of each circle: nodes that reach one another along the edges."""
    reach: dict[str, set[str]] = {}
    for a, b in edges:
        reach.setdefault(a, set()).add(b)
    below = {node: _reachable(node, reach) for node in reach}
    groups = {frozenset({a, *(b for b in below[a] if a in below.get(b, ()))}) for a in reach if a in below[a]}
    return sorted(sorted(group) for group in groups)


def _reachable(start: str, reach: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for node in reach.get(waiting.pop(), set()) - seen:
            seen.add(node)
            waiting.append(node)
    return seen
