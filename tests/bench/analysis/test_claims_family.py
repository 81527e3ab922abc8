"""The recorded family of the primary test: commands keep it, and tables say why a line is not in it."""

import shlex
from collections.abc import Mapping

import pytest

from mcr_bench.bench.analysis.claims import claims, leading
from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.comparisons import comparisons
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.planning.family import family_of
from mcr_bench.bench.report.claim_tables import claim_tables, command, power_lines
from mcr_bench.tests.support.records.claimed_runs import BASE, run

EVERY = [name for name in registry.method_names() if registry.method(name).role != "unimodal"]


def recorded(primary: Mapping[str, list[bool]]) -> Comparison:
    """One comparison: method -> whether each of its runs, of seeds from 0, was planned in the family."""
    rows = [
        run(name, seed, BASE[seed], tags={"primary": str(inside).lower()})
        for name, flags in primary.items()
        for seed, inside in enumerate(flags)
    ]
    (found,) = comparisons(rows, "joint")
    return found


def planned(text: str) -> dict[str, bool]:
    """Method -> whether the commands plan its runs in the family."""
    found: dict[str, bool] = {}
    for call in text.split(" &&\n"):
        words = shlex.split(call)
        methods = words[words.index("--methods") + 1].split(",")
        named = words[words.index("--family") + 1].split(",") if "--family" in words else None
        family = family_of(map(registry.method, methods), named)
        found |= {name: name in family for name in methods}
    return found


def test_the_command_names_the_recorded_family() -> None:
    text = command(recorded({"ensemble": [True], "joint": [False], "mlb": [True], "ogm": [False]}), 9)
    assert text.startswith("mcr-bench run --methods ensemble,joint,mlb,ogm --family ensemble,mlb --dataset ")
    assert planned(text) == {"ensemble": True, "joint": False, "mlb": True, "ogm": False}


def test_the_command_names_no_family_that_is_the_usual_one() -> None:
    assert "--family" not in command(recorded({"ensemble": [True], "mlb": [True], "unimodal": [False]}), 9)
    usual = family_of(map(registry.method, EVERY), None)
    assert "--family" not in command(recorded({name: [name in usual] for name in EVERY}), 9)


@pytest.mark.parametrize("family", [["ensemble"], ["ensemble", "ogm-ge"], EVERY[:9], EVERY])
def test_no_command_takes_a_line_out_of_the_test(family: list[str]) -> None:
    """One method, or more than eight, cannot be named as a family; those that are explored stay so by their runs."""
    after = planned(command(recorded({name: [name in family] for name in EVERY}), 9))
    assert after.keys() == set(EVERY)
    assert all(after[name] for name in family)


def test_a_line_whose_runs_disagree_is_named() -> None:
    comparison = recorded({"ensemble": [True] * 3, "mlb": [True, True, False], "ogm": [True] * 3, "joint": [False] * 3})
    (note,) = [note for note in claim_tables(claims(comparison, "ensemble"))[0].notes if "counts as" in note]
    assert note.startswith("mlb counts as explored: 2 of its 3 runs were planned in the family named before training")


def test_that_all_lines_are_explored_is_said() -> None:
    found = claims(recorded({"ensemble": [True] * 3, "mlb": [False] * 3}), "ensemble")
    reason = "no compared method is in the family that was named before training: all are explored"
    assert power_lines(found) == [f"nothing to test: {reason}"]
    assert leading(found) == (set(), f"no bold type: {reason}")


def test_that_the_family_has_no_pair_is_said() -> None:
    rows = [run("ensemble", 0, 0.5), run("ogm", 1, 0.6), run("mlb", 0, 0.6, tags={"primary": "false"})]
    (comparison,) = comparisons(rows, "joint")
    (line,) = power_lines(claims(comparison, "ensemble"))
    assert line.endswith("no method of the family that was named before training has runs that pair with ensemble")


def test_that_the_baseline_lacks_the_metric_is_said() -> None:
    rows = [run("ensemble", 0, 0.5), run("mlb", 0, 0.6, metrics={"test/total_loss": 1.0})]
    (comparison,) = comparisons(rows, "joint")
    assert power_lines(claims(comparison, "ensemble", "total_loss")) == [
        "nothing to test: ensemble has no finite test total_loss"
    ]


def test_that_no_pair_is_shared_is_said() -> None:
    (comparison,) = comparisons([run("ensemble", 0, 0.5), run("mlb", 1, 0.6)], "joint")
    assert power_lines(claims(comparison, "ensemble")) == [
        "nothing to test: no other method shares a seed and fold with ensemble"
    ]
