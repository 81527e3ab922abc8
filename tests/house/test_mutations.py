"""The command that plants faults: what it changes, which tests it runs, and that it knows a caught one."""

import ast
from pathlib import Path

import pytest

from mcr_bench.tests.support.house.mutate import SURVIVED, caught_by, groups_for, imports
from mcr_bench.tests.support.house.mutations import Mutation, drawn, mutations

SOURCE = '''"""A text with 1 < 2."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class A:
    side: Literal[1, 2] = 1


def f(x: int, *, deep: bool = False) -> bool:
    """Is 3 > 2?"""
    if not deep and x >= 2.5:
        raise ValueError("x - 1")
    return x + 1 != 4


def g(x: float) -> float:
    return (
        x
        - 1
    )
'''


def changes() -> set[tuple[int, str, str]]:
    return {(one.line, one.before, one.after) for one in mutations(SOURCE, "bench/a.py")}


def test_what_acts_is_changed_and_nothing_else() -> None:
    assert changes() == {
        (9, "1", "2"),
        (12, "False", "True"),
        (14, "not ", ""),
        (14, ">=", "<"),
        (14, "2.5", "5.0"),
        (16, "+", "-"),
        (16, "1", "2"),
        (16, "!=", "=="),
        (16, "4", "5"),
        (16, "x + 1 != 4", "not (x + 1 != 4)"),
        (22, "1", "2"),
    }


def test_each_is_another_file_of_the_same_length() -> None:
    texts = [one.applied(SOURCE) for one in mutations(SOURCE, "bench/a.py")]
    assert len({*texts, SOURCE}) == len(texts) + 1
    for text in texts:
        assert ast.parse(text)
        pairs = zip(SOURCE.splitlines(), text.splitlines(), strict=True)
        assert sum(old != new for old, new in pairs) == 1


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A package with two modules of one room, one of another, and a test of the first."""
    root = tmp_path / "mcr_bench"
    files = {
        "__init__.py": "",
        "cli.py": "",
        "bench/core/near.py": "def near(x):\n    return x < 3\n",
        "bench/core/far.py": "from mcr_bench.bench.core.near import near\n\n\ndef far(x):\n    return x + 1\n",
        "bench/task.py": "def idle(x):\n    return x * 2\n",
        "tests/bench/core/test_near.py": (
            "from mcr_bench.bench.core.near import near\n\n\ndef test_near():\n    assert near(2)\n"
        ),
        "tests/bench/core/test_other.py": "def test_other():\n    from mcr_bench.bench.core import far\n",
        "tests/bench/test_all.py": "from mcr_bench.bench.core.far import far\n\n\ndef test_all():\n    assert far\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
        (root / name).parent.joinpath("__init__.py").touch()
    return root


def test_rooms_take_turns_and_a_seed_gives_the_same(tree: Path) -> None:
    first = drawn(tree, 2, 3)
    assert {one.path.rpartition("/")[0] for one in first} == {"bench", "bench/core"}
    assert drawn(tree, 2, 3) == first
    assert {one.name for one in drawn(tree, 99, 3)} == {one.name for one in drawn(tree, 99, 4)}


def test_the_nearest_tests_come_first(tree: Path) -> None:
    assert imports(tree)["bench/core/far"] == {"bench/core/near"}
    groups = list(groups_for("bench/core/near.py", tree))
    assert groups == [
        ["tests/bench/core/test_near.py"],
        ["tests/bench/core/test_other.py"],
        ["tests/bench/test_all.py"],
    ]
    assert list(groups_for("bench/task.py", tree)) == [["tests/bench/test_all.py"]]


def test_a_fault_is_caught_where_a_test_fails_and_the_copy_is_as_before(tree: Path) -> None:
    text = (tree / "bench/core/near.py").read_text()
    flipped = Mutation("bench/core/near.py", 2, 13, 14, "compare", "<", ">=")
    assert caught_by(flipped, tree, 60) == "tests/bench/core/test_near.py::test_near"
    harmless = Mutation("bench/core/near.py", 2, 15, 16, "constant", "3", "4")
    assert caught_by(harmless, tree, 60) == SURVIVED
    assert (tree / "bench/core/near.py").read_text() == text
