"""Manners of the code, read off the syntax trees: no text times a condition, no choice as a statement, no `found`."""

import ast
from pathlib import Path

import pytest

import mcr_bench
from mcr_bench.tests.support.house.code_manners import conditions_of, faults

ROOT = Path(mcr_bench.__file__).parent
FILES = [
    *(path for path in sorted(ROOT.glob("*.py"))),
    *(
        path
        for folder in ("bench", "methods", "datasets", "examples")
        for path in sorted((ROOT / folder).rglob("*.py"))
    ),
]


def test_no_module_has_a_fault() -> None:
    assert len(FILES) > 200
    sources = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in FILES}
    conditions = set().union(*(conditions_of(ast.parse(source)) for source in sources.values()))
    assert {name: here for name, source in sources.items() if (here := faults(source, conditions))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "def f(x):\n    return 'a' + ' of many' * bool(x)",
        "def f(x):\n    return f' of {x}' * (len(x) < 3)",
        "def f(x):\n    return (len(x) > 1) * 's'",
        "def f(x):\n    return ' and' * (x is None and x)",
        "def f(x):\n    return '!' * (not x)",
        "def f(x, loud: bool):\n    return 'ah' + '!' * loud",
        "def f(x):\n    some, more = x > 1, x > 2\n    return f'{x}' * more",
        "def f(x):\n    return ', '.join(x) * isinstance(x, list)",
        "def f(x):\n    return [*x, 'a'] + ['b'] * bool(x)",
        "class A:\n    short: bool\n\n    def f(self):\n        return 's' * self.short",
        "def is_one(x) -> bool:\n    return x == 1\n\ndef f(x):\n    return 's' * is_one(x)",
        "def f(x):\n    return ('a ' + str(x)) * x.exists()",
        "def f(x):\n    print(1) if x else print(2)",
        "def f(x):\n    found = [x]",
        "def f(found):\n    return 1",
        "for found in ():\n    pass",
        "with open('x') as found:\n    pass",
        "import os as found",
        "a, (b, *found) = 1, (2, 3)",
        "if (found := 3):\n    pass",
        "class A:\n    def __init__(self):\n        self.found = 1",
        "def found():\n    pass",
    ],
)
def test_a_planted_fault_is_seen(source: str) -> None:
    assert len(faults(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "def f(x):\n    return '-' * len(x)",
        "def f(n: int):\n    return ' ' * n + '=' * 20 + '.' * (n + 1)",
        "def f(x, y):\n    return 0.5 * (x == y)",
        "def f(x, shape):\n    return x.reshape(-1, *[1] * (x.ndim - 1))",
        "def f(x):\n    y = 1 if x else 2\n    return y if x else None",
        "def f(x):\n    founder, foundation = x, 'found'\n    return founder.found",
    ],
)
def test_what_is_alike_is_no_fault(source: str) -> None:
    assert faults(source) == []
