"""How many planted faults the tests catch: `python -m mcr_bench.tests.support.house.mutate [--count 50] [--seed 1]`.

Each mutation is made in a copy of the tree, one at a time, and the tests that import the changed module are run on it
until one fails. The checkout is never touched. Results are kept in a file as they come, so that a second call goes on.
"""

import argparse
import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from queue import Queue

import mcr_bench
from mcr_bench.tests.support.house.mutations import Mutation, drawn

ROOT = Path(mcr_bench.__file__).parent
LEFT = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "mlflow.db", "artifacts")
SURVIVED = "SURVIVED"
LATE = "time limit"
UNDECIDED = "undecided: its tests take longer than the limit without it too"
NEAR, FEW = 2, 8  # imports between a test and the changed module; test files that are only near


def main() -> None:
    """Draw, run and print the table."""
    arguments = _arguments()
    chosen = [one for one in drawn(ROOT, arguments.count, arguments.seed) if arguments.only in one.name]
    known = _kept(arguments.results)
    copies: Queue[Path] = Queue()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(arguments.jobs) as pool:
        for number in range(arguments.jobs):
            copies.put(_copied(Path(folder) / str(number) / "mcr_bench"))

        def tried(one: Mutation) -> str:
            if one.name not in known:
                copy = copies.get()
                outcome = caught_by(one, copy, arguments.limit)
                copies.put(copy)
                with arguments.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(one) | {"name": one.name, "outcome": outcome}) + "\n")
                known[one.name] = outcome
                print(_line(one, outcome), flush=True)
            return known[one.name]

        outcomes = list(pool.map(tried, chosen))
    print("\n" + "\n".join(_line(*pair) for pair in zip(chosen, outcomes, strict=True)))
    survived, undecided = outcomes.count(SURVIVED), outcomes.count(UNDECIDED)
    caught = len(chosen) - survived - undecided
    print(f"\n{len(chosen)} mutations: {caught} caught, {survived} survived, {undecided} undecided.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50, help="mutations (50)")
    parser.add_argument("--seed", type=int, default=1, help="of the draw (1)")
    parser.add_argument("--jobs", type=int, default=1, help="copies side by side (1)")
    parser.add_argument(
        "--limit", type=int, default=600, help="seconds for the tests of one mutation; more is caught (600)"
    )
    parser.add_argument("--only", default="", help="only mutations whose name has this in it")
    parser.add_argument("--results", type=Path, default=Path("mutations.jsonl"), help="where results are kept")
    return parser.parse_args()


def _kept(file: Path) -> dict[str, str]:
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return {one["name"]: one["outcome"] for one in map(json.loads, lines)}


def _copied(place: Path) -> Path:
    shutil.copytree(ROOT, place, ignore=LEFT)
    return place


def _line(one: Mutation, outcome: str) -> str:
    return f"{one.path} | {one.line} | {one.before} -> {one.after} | {outcome}"


def caught_by(one: Mutation, copy: Path, limit: float) -> str:
    """The first test that fails on the mutation in a copy of the tree, and not without it, or SURVIVED.

    Tests that go on for ever catch it too: those that end in time without it.
    """
    file = copy / one.path
    text = file.read_text(encoding="utf-8")
    for tests in groups_for(one.path, copy):
        while tests:
            file.write_text(one.applied(text), encoding="utf-8")
            try:
                outcome = _failure(tests, copy, limit)
            finally:
                file.write_text(text, encoding="utf-8")
            if not outcome:
                break
            suspects = tests if outcome == LATE else [outcome.partition("::")[0]]
            without = _failure(suspects, copy, limit)
            if not without or not {*suspects} <= {*tests}:
                return outcome
            if outcome == without == LATE:
                return UNDECIDED
            tests = [name for name in tests if name not in suspects]
    return SURVIVED


def _failure(tests: list[str], copy: Path, limit: float) -> str:
    """The first test of these files that fails; '' where none does."""
    # Without the plug-in of the package: in a copy that lacks or breaks it pytest would not start.
    plain = ["-p", "no:cacheprovider", "-p", "no:mcr_bench"]
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-n", "0", *plain, *tests]
    environment = os.environ | {"PYTHONPATH": str(copy.parent), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return LATE
    if done.returncode in (0, 5):  # 5: none of the files has a test that runs here
        return ""
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", done.stdout, re.MULTILINE)
    return failed[1] if failed else f"pytest ends with {done.returncode}"


def groups_for(path: str, root: Path) -> Iterator[list[str]]:
    """Groups of test files: those that import the module itself, those of its room, a few that are near it."""
    graph = imports(root)
    module = path.removesuffix(".py").removesuffix("/__init__")
    far = _distances(module, graph)
    tests = {
        name: far[name] for name in far if name.startswith("tests/") and name.rpartition("/")[2].startswith("test_")
    }
    room = f"tests/{module.rpartition('/')[0]}/"
    first = sorted(name for name, steps in tests.items() if steps == 1)
    alike = [name for name in graph if name.startswith(f"{room}test_") and name not in first]
    near = [name for name, steps in tests.items() if 1 < steps <= NEAR and name not in alike]
    for group in (first, sorted(alike), sorted(near)[:FEW]):
        if group:
            yield [f"{name}.py" for name in group]


def imports(root: Path) -> dict[str, set[str]]:
    """Module -> the modules of the tree that it imports, by path below the root without suffix."""
    files = [path for top in ("bench", "methods", "datasets", "tests") for path in (root / top).rglob("*.py")]
    names = {
        path.relative_to(root).with_suffix("").as_posix().removesuffix("/__init__"): path
        for path in [*files, root / "cli.py"]
    }
    return {name: set(_imported(ast.parse(path.read_text(encoding="utf-8")), names)) for name, path in names.items()}


def _imported(tree: ast.Module, known: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(tree):
        paths = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            paths = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for path in paths:
            name = path.removeprefix("mcr_bench.").replace(".", "/")
            if path.startswith("mcr_bench.") and name in known:
                yield name


def _distances(module: str, graph: Mapping[str, set[str]]) -> dict[str, int]:
    """Module -> imports between it and this one, over those that reach it."""
    far, waiting = {module: 0}, [module]
    for name in waiting:
        for importer in graph:
            if name in graph[importer] and importer not in far:
                far[importer] = far[name] + 1
                waiting.append(importer)
    return far


if __name__ == "__main__":
    main()
