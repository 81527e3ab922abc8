"""Tables, lists and the line about the data fit the width of a terminal, and nothing of them is lost."""

import io
from itertools import chain

import pytest
from rich.console import Console

from mcr_bench.bench.analysis.table import Table
from mcr_bench.bench.planning.overview import Overview
from mcr_bench.bench.report.cards import list_datasets
from mcr_bench.bench.report.fitted import fitted, grid_text, terminal_width, wrapped
from mcr_bench.bench.report.terminal import print_tables

COLUMNS = ("method", "test accuracy", "sd", "n", "macro-F1", "audio", "video", "× step time", "× forwards", "× memory")
LABEL = "a-method [epochs=2 a-method.alpha=0.1 encoder.kind=transformer model.fusion=gated]"
TABLE = Table(
    "a-set · audio + video · protocol official · preset paper · epochs=2 optimizer.name=sgd",
    COLUMNS,
    (4,) * len(COLUMNS),
    [("joint", 0.5, 0.1, 2, 0.4, 0.3, 0.2, 1.0, 1.0, 1.0), (LABEL, 0.6, 0.2, 2, 0.5, 0.4, 0.3, 1.5, 2.0, 1.25)],
    ["sd: the sample standard deviation (n - 1) over the runs of a line, each with a seed and a fold of its own"],
    bold=frozenset({1}),
)
VIEW = Overview(
    *("a-set-with-a-long-name", "official", 1, 5, 6, {"train": 4000, "val": 1000, "test": 2442}),
    {"audio": (1, 257, 188), "video": (3, 3, 224, 224)},
    {"audio": ["resnet18"], "video": ["resnet18"]},
    majority=0.17,
    notices=("absent from validation: 5 classes ('a', 'b', 'c', 2 more), so that its mean over classes counts fewer",),
)


def printed(table: Table) -> str:
    out = io.StringIO()
    print_tables(Console(file=out), [table])
    return out.getvalue()


def words(text: str) -> set[str]:
    return set(text.split())


def longest(text: str) -> int:
    return max(map(len, text.splitlines()))


@pytest.mark.parametrize("width", [80, 200])
def test_a_table_fits_and_holds_every_word(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10000")
    whole = printed(TABLE)
    monkeypatch.setenv("COLUMNS", str(width))
    told = printed(TABLE)
    assert longest(told) <= width
    assert words(told) == words(whole)
    assert ("× memory" in told.splitlines()[1]) == (width == 200)


def test_folded_columns_stand_below_with_the_name_of_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    first, second = printed(TABLE).split("\n\n")[:2]
    assert "joint" in first
    assert "joint" in second
    assert second.splitlines()[0].split()[0] == "method"


@pytest.mark.parametrize("width", [80, 200])
def test_the_list_of_datasets_fits(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list_datasets()
    monkeypatch.setenv("COLUMNS", str(width))
    told = grid_text(rows)
    assert longest(told) <= width
    assert words(" ".join(str(row["title"]) for row in rows)) <= words(told)


@pytest.mark.parametrize("width", [80, 200])
def test_what_was_understood_fits_and_keeps_its_parts_whole(width: int) -> None:
    told = wrapped(VIEW.text, width)
    assert longest(told) <= width
    assert words(told) == words(VIEW.text)
    for part in ("audio (1, 257, 188) -> resnet18", "video (3, 3, 224, 224) -> resnet18", "majority 17 %"):
        assert part in told


def test_without_a_terminal_nothing_is_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert terminal_width() is None
    rows = [["name", "x" * 300], ["a", "b c"]]
    assert len(list(chain.from_iterable(fitted(rows, None)[0]))) == 2
    assert wrapped("a · " * 100, None) == "a · " * 100
    assert printed(TABLE).splitlines()[1].split()[-2:] == ["×", "memory"]


def test_a_word_that_is_longer_than_the_line_is_not_broken() -> None:
    word = "w" * 100
    blocks = fitted([["name", "about"], ["a", word]], 80)
    assert any(word in line for block in blocks for row in block for line in row)
