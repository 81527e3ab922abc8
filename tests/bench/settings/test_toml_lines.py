"""Lines of TOML keys: every key that tomllib reads is found, at the line on which a reader sees it."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcr_bench.bench.planning.toml_lines import Place, key_lines

ROOT = Path(__file__).parents[3]
TEXT = '''# a comment with = and [brackets]
title = "a # no comment, \\" and = inside"   # but this is
note = """
several = lines
[not.a.table]
"""
literal = \'\'\'
x = 1
\'\'\'
optimizer.lr = 1e-3
"dataset.shared" = [
  0.9,  # first
  "0.2/0.1", [1,
  2],
]
inline = { a = 1, b.c = { d = [] } }

[set] # a table
'mcr.start' = 'uni # modal'
mcr . lambda = 2

[[points]]
name = "one"
when = 1979-05-27 07:32:00

[[points]]
name = "two"
[points.set]
epochs = 5
[[points.more]]
x = true
[[points.more]]
x = false
'''
LINES = {
    ("title",): 2,
    ("note",): 3,
    ("literal",): 7,
    ("optimizer", "lr"): 10,
    ("dataset.shared",): 11,
    ("dataset.shared", 0): 12,
    ("dataset.shared", 1): 13,
    ("dataset.shared", 2): 13,
    ("dataset.shared", 2, 1): 14,
    ("inline", "b", "c", "d"): 16,
    ("set",): 18,
    ("set", "mcr.start"): 19,
    ("set", "mcr", "lambda"): 20,
    ("points",): 22,
    ("points", 0): 22,
    ("points", 0, "name"): 23,
    ("points", 1): 26,
    ("points", 1, "set", "epochs"): 29,
    ("points", 1, "more", 1, "x"): 33,
}


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Every path of a parsed document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*place, key)
        yield from places(inner, (*place, key))


def test_lines_as_counted_by_hand() -> None:
    found = key_lines(TEXT)
    assert {place: found[place] for place in LINES} == LINES


NESTED = """points = [
  { name = "one", set.epochs = 1 },  # ]
  { name = 'two', set.orders = [[1, 2],
    [3,
     4]] },
]
notes = [
  '''
  [[points]]
  ''', "b",
]
"""
NESTED_LINES = {
    ("points",): 1,
    ("points", 0, "set", "epochs"): 2,
    ("points", 1): 3,
    ("points", 1, "set", "orders", 0, 1): 3,
    ("points", 1, "set", "orders", 1): 4,
    ("points", 1, "set", "orders", 1, 1): 5,
    ("notes",): 7,
    ("notes", 0): 8,
    ("notes", 1): 10,
}


def test_tables_in_lists_and_texts_of_several_lines_as_counted_by_hand() -> None:
    lines = key_lines(NESTED)
    assert {place: lines[place] for place in NESTED_LINES} == NESTED_LINES
    assert set(lines) == set(places(tomllib.loads(NESTED)))


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_what_tomllib_reads_is_found_and_nothing_else(newline: str) -> None:
    assert set(key_lines(TEXT.replace("\n", newline))) == set(places(tomllib.loads(TEXT)))


@pytest.mark.parametrize(
    "path", [*(ROOT / "datasets" / "presets").glob("*.toml"), ROOT / "pyproject.toml"], ids=lambda p: p.name
)
def test_files_of_this_project(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert set(key_lines(text)) == set(places(tomllib.loads(text)))


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment", "a = 1", "a = [1, 2, ]", "[a]\n[b]"])
def test_small_documents(text: str) -> None:
    assert set(key_lines(text)) == set(places(tomllib.loads(text)))
