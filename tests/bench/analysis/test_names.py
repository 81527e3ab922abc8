"""Names that are cut keep the part in which they differ."""

from itertools import combinations
from pathlib import Path

import pytest

from mcr_bench.bench.analysis.names import cut, cut_all
from mcr_bench.bench.analysis.table import Table
from mcr_bench.bench.figures.style import shorten
from mcr_bench.bench.report.export import write_tables

GRID = [
    "mcr [mcr.strategy=collaborative optimizer.lr=0.001]",
    "mcr [mcr.strategy=collaborative optimizer.lr=0.0001]",
    "mcr [mcr.strategy=greedy optimizer.lr=0.001]",
]
LONG = [f"unimodal (a_modality_with_a_long_name_of_the_{side}_camera)" for side in ("left", "right")]


def test_a_name_that_fits_is_left_alone() -> None:
    assert cut("short", ["short", "other"], 5) == "short"


@pytest.mark.parametrize("longest", [16, 24, 40])
@pytest.mark.parametrize("names", [GRID, LONG, [f"view_number_{i}_of_the_handwritten_digits" for i in range(6)]])
def test_cut_names_are_short_and_different(names: list[str], longest: int) -> None:
    texts, notes = shorten(names, longest)
    assert max(map(len, texts.values())) <= longest
    plain = [text.rpartition(" (")[0] if text != name else text for name, text in texts.items()]
    assert len(set(texts.values())) == len(names)
    assert [note.partition(" ")[2] for note in notes] == [name for name in names if len(name) > longest]
    if longest >= 24:
        assert len(set(plain)) == len(names), "apart from the number too"


def test_what_differs_stands_in_the_text() -> None:
    texts, _ = shorten(GRID[:2], 24)
    assert list(texts.values()) == ["mcr [… lr=0.001] (1)", "mcr [… lr=0.0001] (2)"]
    left, right = shorten(LONG, 32)[0].values()
    assert ("left" in left, "right" in right) == (True, True)
    assert left.startswith("unimodal (")


def test_a_name_whose_beginning_differs_is_cut_at_its_end() -> None:
    assert cut("alpha " + "x" * 50, ["beta " + "x" * 50], 12) == "alpha xxxxx…"


def test_one_name_that_continues_another_shows_its_end() -> None:
    short, long = "m" * 30 + " plain", "m" * 30 + " plain and more"
    assert cut(long, [short, long], 24).endswith("and more")


def test_numbers_tell_apart_what_is_equal_whatever_the_case() -> None:
    found = cut_all(["Forest-A", "forest-a", "forest-a", "other"], 20)
    assert len({name.casefold() for name in found}) == 4
    assert found[0] == "Forest-A"


def test_files_of_long_titles_say_which_table_they_are(tmp_path: Path) -> None:
    title = "set.npz · " + " + ".join(f"modality{i:02}" for i in range(14)) + " · protocol file · against ensemble · "
    tables = [Table(title + kind, ("a",), (0,), [], []) for kind in ("primary", "secondary tests", "all pairs")]
    names = {path.stem for path in write_tables(tables, tmp_path)}
    assert {name.rpartition("--")[2] for name in names} == {"primary", "secondary_tests", "all_pairs"}
    assert max(map(len, names)) <= 150
    assert all(a != b for a, b in combinations(names, 2))
