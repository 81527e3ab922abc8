"""Lines trained for longer or shorter than others: told, and never in one family of tests or ranks."""

from dataclasses import replace

import pytest

from mcr_bench.bench.analysis.budgets import same_budget, training_notes
from mcr_bench.bench.analysis.claim_notes import budget_notes
from mcr_bench.bench.analysis.claims import claims, leading
from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.comparisons import comparisons
from mcr_bench.bench.analysis.ranking import rank_datasets
from mcr_bench.bench.planning.advice.seed_advice import seed_advice
from mcr_bench.bench.record.row import RunRow
from mcr_bench.tests.support.records import many_runs
from mcr_bench.tests.support.records.claimed_runs import noisy, run

PRESET = {"epochs": "40", "patience": "10"}


def lines(*wanted: tuple[str, str, dict[str, str], float], count: int = 10) -> Comparison:
    """(method, --set settings, params, shift of its values) per line; ensemble is the baseline."""
    rows = []
    for number, (method, overrides, params, shift) in enumerate(wanted):
        label = f"{method} [{overrides}]" if overrides else method
        tags = {"overrides": overrides, "config": label}
        for seed, value in enumerate(noisy(shift, number, count)):
            rows.append(run(method, seed, value, label=label, tags=tags, params=params))
    (found,) = comparisons(rows, "joint")
    return found


def long(epochs: int) -> dict[str, str]:
    return PRESET | {"epochs": str(epochs)}


MIXED = (
    ("ensemble", "epochs=2", long(2), -0.2),
    ("joint", "epochs=2", long(2), 0.0),
    ("mcr", "epochs=2", long(2), 0.1),
    ("joint", "epochs=20", long(20), 0.2),
    ("mcr", "epochs=20", long(20), 0.3),
)


@pytest.mark.parametrize(
    ("baseline", "tested"),
    [
        ("ensemble [epochs=2]", {"joint [epochs=2]", "mcr [epochs=2]"}),
        ("joint [epochs=2]", {"ensemble [epochs=2]", "mcr [epochs=2]"}),
        ("joint [epochs=20]", {"mcr [epochs=20]"}),
    ],
)
def test_a_family_has_one_budget(baseline: str, tested: set[str]) -> None:
    made = claims(lines(*MIXED), baseline)
    assert {one.label for one in made.against} == tested
    assert made.power is not None
    assert made.power.comparisons == len(tested)
    assert {label for pair in made.pairs.differences for label in pair} == tested | {baseline}
    assert leading(made)[0] <= tested | {baseline}


@pytest.mark.parametrize(("setting", "value"), [("patience=3", "3"), ("mcr.patience=3", "3")])
def test_patience_is_part_of_a_budget(setting: str, value: str) -> None:
    found = lines(("ensemble", "", PRESET, 0), ("mcr", setting, PRESET | {"patience": value}, 0.1))
    assert not claims(found, "ensemble").against


def test_a_budget_that_is_said_again_is_the_same() -> None:
    found = lines(("ensemble", "", PRESET, 0), ("mcr", "epochs=40", PRESET, 0.1))
    assert {one.label for one in claims(found, "ensemble").against} == {"mcr [epochs=40]"}


def test_what_a_preset_gives_one_method_is_part_of_that_method() -> None:
    """The patience of MCR in the paper's presets: told under the table, and tested all the same."""
    own = PRESET | {"patience": "3"}
    found = lines(("ensemble", "", PRESET, 0), ("mcr", "mcr.weight=2", own, 0.1))
    assert {one.label for one in claims(found, "ensemble").against} == {"mcr [mcr.weight=2]"}
    (note,) = training_notes(found)
    assert note == "budgets differ: epochs 40, patience 10: ensemble; epochs 40, patience 3: mcr [mcr.weight=2]"


def test_rows_without_settings_have_one_budget() -> None:
    assert same_budget([run("a", 0, 0.5)], [run("b", 0, 0.5)])


def test_the_others_are_named_with_what_would_test_them() -> None:
    found = lines(*MIXED)
    (note,) = budget_notes(found, "joint [epochs=2]")
    assert note == (
        "not in the family: joint [epochs=20], mcr [epochs=20] (epochs 20, patience 10): other budgets than "
        "joint [epochs=2] (epochs 2, patience 10); --baseline 'joint [epochs=20]' tests them"
    )
    (note,) = budget_notes(found, "ensemble [epochs=2]")
    assert note.endswith("; run ensemble with that budget to test them")
    (note,) = training_notes(found)
    assert note.startswith("budgets differ: epochs 2, patience 10: ")
    assert "not tested against it" in note


def test_ranks_compare_lines_of_one_budget() -> None:
    found = lines(("joint", "", long(2), 0.0), ("mcr", "epochs=20", long(20), 0.3), ("agm", "", long(2), 0.1))
    assert set(rank_datasets([found]).mean_ranks) == {"joint", "agm"}
    both = lines(*MIXED)
    assert rank_datasets([both]).mean_ranks == {"mcr": 1.0, "joint": 2.0, "ensemble": 3.0}


def ended(*ends: tuple[float | None, float | None]) -> list[RunRow]:
    pairs = enumerate(ends)
    return [run("joint", s, 0.5, metrics={"best_epoch": best, "epochs": last}) for s, (best, last) in pairs]


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ([(9, 9), (9, 9), (3, 9)], "joint (2 of 3 runs)"),
        ([(9, 9), (3, 9)], None),
        ([(9, 9), (None, None)], "joint (1 of 1 runs)"),
        ([(0, 0), (0, 0)], None),
        ([(3, 13), (4, 14)], None),
    ],
)
def test_a_line_that_was_still_improving_is_named(ends: list[tuple[float, float]], told: str | None) -> None:
    (found,) = comparisons(ended(*ends), "joint")
    notes = [note for note in training_notes(found) if note.startswith("not converged")]
    assert [told in note for note in notes] == ([True] if told else [])


@pytest.mark.parametrize("budgets", [1, 2, 3])
def test_before_training_too_a_family_has_one_budget(budgets: int) -> None:
    """Ensemble, joint and multi-loss: two comparisons need 2 * 2 / 2^7 <= .05, however many budgets are asked for."""
    runs = [
        replace(run, overrides=f"epochs={epochs}", training={**run.training, "epochs": epochs})
        for epochs in range(2, 2 + budgets)
        for run in many_runs.specs(methods=5, datasets=1, seeds=7)
    ]
    assert seed_advice(runs) == []
    assert len(seed_advice([run for run in runs if run.seed < 6])) == 1


@pytest.mark.parametrize(
    ("best", "first", "told"),
    [
        ([3, 5, 9], 6, "tested before all parts of their rule acted"),
        ([6, 7, 9], 6, None),
        ([1, 1, 1], 1, None),
    ],
)
def test_a_line_whose_rule_was_not_complete_is_named(best: list[int], first: int, told: str | None) -> None:
    tags = {"complete_from": str(first)}
    rows = [run("opm", s, 0.5, tags=tags, metrics={"best_epoch": b, "epochs": 12}) for s, b in enumerate(best)]
    rows += [run("joint", s, 0.5, metrics={"best_epoch": 1, "epochs": 12}) for s in range(3)]
    rows += [run("ensemble", s, 0.5, metrics={"best_epoch": 0, "epochs": 0}) for s in range(3)]  # which trains nothing
    (found,) = comparisons(rows, "joint")
    notes = [note for note in training_notes(found) if note.startswith("tested before")]
    assert len(notes) == bool(told)
    assert all("opm (from epoch 6 on; 2 of 3 runs); more epochs" in note for note in notes)
