"""The family of the primary test: named before training, at most eight methods, all others explored."""

from dataclasses import replace

import pytest

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request


def request(*methods: str, family: list[str] | None = None) -> Request:
    return Request(methods=list(methods), datasets=["synthetic"], seeds=[0], family=family)


def test_a_small_comparison_is_one_family() -> None:
    asked = request("joint", "mlb", "unimodal")
    assert asked.primary == {"joint", "mlb"}
    plan = make_plan(asked)
    assert {run.primary for run in plan.runs if run.role != "unimodal"} == {True}
    assert not [line for line in plan.announcements if "Primary test" in line]


def test_of_many_methods_those_are_the_family_that_declare_it() -> None:
    asked = request("all")
    assert asked.primary == set(registry.selections()["primary"])
    assert len(asked.primary) <= 8
    plan = make_plan(asked)
    tested = {run.method for run in plan.runs if run.primary and run.role != "unimodal"}
    assert tested == asked.primary
    (line,) = [line for line in plan.announcements if "Primary test" in line]
    assert all(name in line for name in asked.primary)
    assert "explored" in line
    assert "seeds" in line


def test_methods_that_are_left_out_are_not_counted() -> None:
    plan = make_plan(replace(request("all"), preset="xor"))
    trained = {run.method for run in plan.runs if run.role != "unimodal"}
    family = set(registry.selections()["primary"])
    assert family - trained == {"ogm-ge"}  # it reads the parts of an additive head, which cannot learn xor
    (line,) = [line for line in plan.announcements if "Primary test" in line]
    named = ", ".join(sorted(family - {"ogm-ge"}))
    assert line.startswith(f"{len(trained)} methods. Primary test, named before training: {named} (")
    assert f"The other {len(trained) - 7} methods are explored" in line
    assert "needs 8 seeds" in line  # 6 tests: 6 * 2 / 2^8 < .05 < 6 * 2 / 2^7


def test_a_family_can_be_named() -> None:
    plan = make_plan(request("all", family=["joint", "ogm", "ensemble"]))
    assert {run.method for run in plan.runs if run.primary} == {"joint", "ogm", "ensemble"}


def test_the_family_does_not_change_the_keys() -> None:
    named = make_plan(request("joint", "mlb", "ogm", family=["joint", "mlb"]))
    assert named.by_key.keys() == make_plan(request("joint", "mlb", "ogm")).by_key.keys()


@pytest.mark.parametrize(
    ("family", "told"),
    [(["agm"], "not among"), (["joint"], "names 1 methods"), (["nothing"], "not among")],
)
def test_a_family_that_cannot_be_is_refused(family: list[str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        make_plan(request("joint", "mlb", family=family))


def test_a_family_of_more_than_eight_is_refused() -> None:
    every = [name for name in registry.method_names() if registry.method(name).role != "unimodal"]
    with pytest.raises(UserError, match="2 to 8"):
        make_plan(request("all", family=every[:9]))


def test_words_select_methods() -> None:
    planned = {run.method for run in make_plan(request("modulation")).runs}
    assert {"ogm", "agm", "mlb"} <= planned
    assert "joint" not in planned
    table1 = {cls.name for _, cls in request("table1").classes.methods}
    assert {"unimodal", "ensemble", "joint", "ogm", "agm", "mlb", "mcr"} <= table1
    assert "ogm-ge" not in table1


def test_an_unknown_word_lists_the_groups_too() -> None:
    with pytest.raises(UserError, match="modulation"):
        make_plan(request("modulatio"))
