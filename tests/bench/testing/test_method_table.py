"""The table of methods and the register of defects are what the cards say now."""

from typing import ClassVar

from mcr_bench.bench.settings.declaration import declared
from mcr_bench.bench.testing.method_table import DEFECTS, METHODS, defect_page, idea, method_table, shipped, with_table
from mcr_bench.methods.base import Defect, Method, OfficialCode, Reference


def test_the_pages_are_as_the_cards_say() -> None:
    page = METHODS.read_text(encoding="utf-8")
    assert with_table(page, method_table(shipped())) == page
    assert defect_page(shipped()) == DEFECTS.read_text(encoding="utf-8")


def test_defects_and_variants_go_together() -> None:
    for cls in shipped():
        assert bool(cls.defects) == ("variant" in declared(cls)), cls.name
        assert not cls.published or cls.defects, cls.name
        assert cls.group != "own", cls.name


def test_every_idea_is_a_line_of_its_own() -> None:
    ideas = [idea(cls) for cls in shipped()]
    assert len(set(ideas)) == len(ideas)
    assert all(len(text.split()) > 3 for text in ideas)


def test_the_register_names_place_code_and_paper() -> None:
    class Slips(Method):
        name: ClassVar[str] = "slips"
        reference: ClassVar[Reference] = Reference("A method that slips", "CONF 2020", "2001.00001")
        official_code: ClassVar[OfficialCode | None] = OfficialCode("github.com/a/b", "abc1234")
        defects: ClassVar[tuple[Defect, ...]] = (Defect("train.py:3", "It adds a | b.", "It subtracts."),)
        published: ClassVar = "official"

    page = defect_page([Slips, Method])
    assert "## slips" in page
    assert "[a/b](https://github.com/a/b), commit abc1234" in page
    assert "variant=official" in page
    assert "| train.py:3 | It adds a \\| b. | It subtracts. |" in page
    assert page.count("## ") == 1


def test_a_method_that_skips_scores_is_not_said_to_learn_them() -> None:
    """A card may refuse regressions by `needs`, or by `skip` where it takes several labels."""
    rows = [row.split("|") for row in METHODS.read_text(encoding="utf-8").splitlines() if row.startswith("| `")]
    cells = {row[1].strip(" `"): row[7].strip() for row in rows if len(row) == 11}
    assert (cells["joint"], cells["tcmax"], cells["functional-entropy"]) == ("yes", "no", "no")
