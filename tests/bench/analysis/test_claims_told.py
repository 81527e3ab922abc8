"""What is told of claims: baselines, commands that fill them, data for programs, ranks over datasets, reasons."""

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from mcr_bench.bench.analysis.claims import baseline_of, claims
from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.comparisons import comparisons
from mcr_bench.bench.analysis.ranking import rank_datasets, rank_table
from mcr_bench.bench.commands.reading import all_claims, show_claims, tables_of
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.report.claim_tables import baseline_command, claim_data, claim_tables, command
from mcr_bench.tests.support.records.claimed_runs import BASE, SEEDS, compared, noisy, run

NO_SAMPLES: Any = SimpleNamespace(samples=lambda _: {})  # a record whose runs have no predictions


def test_the_baseline_is_a_label_or_the_plainest_line_of_a_method() -> None:
    rows = [
        run("mcr", 0, 0.5),
        run("mcr", 0, 0.6, label="mcr [x=1]", key="k", tags={"config": "c", "overrides": "x=1"}),
    ]
    (comparison,) = comparisons(rows, "joint")
    assert baseline_of(comparison, "mcr") == "mcr"
    assert baseline_of(comparison, "mcr [x=1]") == "mcr [x=1]"
    assert baseline_of(comparison, "ogm") is None


def test_data_for_programs_is_strict_json() -> None:
    import json

    found = claims(compared({"ensemble": BASE, "one": [0.9]}), "ensemble")
    data = json.loads(json.dumps(claim_data(found), allow_nan=False))
    assert data["against"][0]["interval"]["refused"]
    assert data["against"][0]["n"] == 1


def test_command_names_source_files_and_quotes() -> None:
    rows = [run("mine", 0, 0.5, tags={"source": "./my method.py", "overrides": "model.fusion=film"})]
    (comparison,) = comparisons(rows, "joint")
    assert command(comparison, 9) == (
        "mcr-bench run --methods './my method.py' --dataset toy.npz --protocol file --modalities a,b --preset default "
        "--set model.fusion=film --seeds 9"
    )


def test_the_command_trains_the_lines_and_the_preset_that_were_compared() -> None:
    rows = [run("ensemble", s, v) for s, v in enumerate(BASE)]
    for kind in ("greedy", "joint"):
        tags = {"overrides": f"mcr.kind={kind}", "config": kind}
        rows += [run("mcr", s, 0.5, label=f"mcr [mcr.kind={kind}]", key=f"{kind}{s}", tags=tags) for s in SEEDS]
    (comparison,) = comparisons([replace(row, preset="tuned") for row in rows], "joint")
    place = "--dataset toy.npz --protocol file --modalities a,b --preset tuned"
    assert set(command(comparison, 9).split(" &&\n")) == {
        f"mcr-bench run --methods ensemble {place} --seeds 9",
        f"mcr-bench run --methods mcr {place} --set mcr.kind=greedy --seeds 9",
        f"mcr-bench run --methods mcr {place} --set mcr.kind=joint --seeds 9",
    }


def test_a_missing_baseline_is_trained_as_the_lines_were() -> None:
    tags = {"overrides": "epochs=1 mcr.kind=greedy"}
    (comparison,) = comparisons([run("mcr", s, 0.5, tags=tags) for s in (2, 7)], "joint")
    place = "--dataset toy.npz --protocol file --modalities a,b --preset default"
    assert (
        baseline_command(comparison, "ensemble")
        == f"mcr-bench run --methods ensemble {place} --set epochs=1 --seeds 2,7"
    )
    (comparison,) = comparisons([run("mcr", 3, 0.5)], "joint")
    assert baseline_command(comparison, "ensemble").endswith("--seeds 3,")


def test_a_missing_baseline_is_trained_with_every_budget_of_the_lines() -> None:
    rows = [run("mcr", s, 0.5, label=f"mcr [epochs={n}]", key=f"{n}{s}", tags={"config": n, "overrides": f"epochs={n}"})
            for s in (0, 1) for n in ("5", "9")]  # fmt: skip
    (comparison,) = comparisons(rows, "joint")
    commands = baseline_command(comparison, "ensemble").split(" && ")
    assert {text.partition(" --set ")[2] for text in commands} == {"epochs=5 --seeds 0,1", "epochs=9 --seeds 0,1"}


@pytest.mark.parametrize(
    ("changes", "baseline", "offered"),
    [
        ({}, "ensemble", True),
        ({"tags": {"modalities": "a"}}, "ensemble", False),
        ({"tags": {"modalities": "a"}}, "multi-loss", True),
        ({"metric": "mae"}, "ensemble", True),
        ({"metric": "mae"}, "pmr", False),
    ],
)
def test_a_missing_baseline_is_offered_where_it_can_run(changes: Any, baseline: str, offered: bool) -> None:
    found = comparisons([run("joint", 0, 0.5, **changes), run("other", 0, 0.5, dataset="b.npz")], "joint")
    made, missing = all_claims([*found, *compared_with(baseline)], NO_SAMPLES, baseline)
    assert len(made) == 1
    (reason,) = (text for text in missing if text.startswith("toy.npz"))
    assert (f"run it: mcr-bench run --methods {baseline} " in reason) == offered


def test_a_missing_baseline_of_older_data_is_not_offered() -> None:
    rows = [run("joint", 0, 0.5, started=float(day), key=str(day),
                tags={"fingerprint": str(day), "data_identity": str(day)}) for day in (1, 2)]  # fmt: skip
    found = comparisons(rows, "joint")
    _, (older, newest) = all_claims([*found, *compared_with("ensemble")], NO_SAMPLES, "ensemble")
    assert ("run it" in older, "run it" in newest) == (False, True)


def compared_with(baseline: str) -> list[Comparison]:
    """One comparison that has the baseline."""
    return comparisons([run(baseline, 0, 0.5, dataset="c.npz"), run("joint", 0, 0.6, dataset="c.npz")], "joint")


def ranked(dataset: str, values: Mapping[str, float], **changes: Any) -> list[RunRow]:
    return [run(m, 0, v, dataset=dataset, tags={"dataset_source": dataset}, **changes) for m, v in values.items()]


def test_ranks_take_the_first_preset_and_the_plainest_line_of_a_method() -> None:
    rows = ranked("one", {"a": 0.9, "b": 0.5}) + ranked("two", {"a": 0.8, "b": 0.6})
    rows += ranked("one", {"a": 0.1, "b": 0.2}, preset="tuned", started=5)
    rows += [run("b", 0, 0.99, dataset="one", label="b [x=1]", tags={"config": "c", "overrides": "x=1"})]
    ranks = rank_datasets(comparisons(rows, "a"))
    assert ranks.mean_ranks == {"a": 1.0, "b": 2.0}
    table = rank_table(ranks)
    assert table.title == "Mean ranks over 2 datasets by test accuracy"
    assert any("fewest settings of its own" in note for note in table.notes)
    assert any(note.startswith("over one") and "preset default" in note for note in table.notes)


def test_ranks_by_a_metric_that_is_asked_for_and_name_it() -> None:
    rows = [replace(row, metrics={"test/mae": row.value or 0}) for d in "xy" for row in ranked(d, {"a": 0.9, "b": 0.5})]
    ranks = rank_datasets(comparisons([*rows[:3], replace(rows[3], metrics={"test/mae": 0.4})], "a"), "mae")
    assert ranks.mean_ranks == {"b": 1.0, "a": 2.0}
    assert ranks.by == "test mae"


def test_the_same_data_under_two_names_is_ranked_once() -> None:
    rows = [row for d in ("one", "again") for row in ranked(d, {"a": 0.9, "b": 0.5})]
    ranks = rank_datasets(comparisons(rows + ranked("other", {"a": 0.7, "b": 0.6}), "a"))
    assert ranks.datasets == 2
    assert "one left out: every method has the mean that it has on again" in ranks.reason


def test_ranks_name_methods_that_lack_runs_which_others_have() -> None:
    """A failed run, or other seeds: the mean of the two left can be above that of three, and the rank with it."""
    rows = [
        run(m, s, v, dataset="one")
        for m, vs in {"a": [0.1, 0.9, 0.9], "b": [0.6, 0.6, 0.6]}.items()
        for s, v in enumerate(vs)
    ]
    even = rank_datasets(comparisons(rows, "a"))
    assert "unequal" not in even.reason
    uneven = rank_datasets(comparisons(rows[1:], "a"))
    assert uneven.mean_ranks == {"a": 1.0, "b": 2.0}
    told = "unequal runs with a value on one, so that its means cannot be compared as they stand: a (2 of 3)"
    assert told in uneven.reason
    assert any(told in note for note in rank_table(uneven).notes)
    other_seeds = [run(m, s, 0.5 + 0.1 * s, dataset="one") for m, s in (("a", 0), ("b", 1))]
    assert "a (1 of 2), b (1 of 2)" in rank_datasets(comparisons(other_seeds, "a")).reason


def test_ranks_need_two_methods_on_every_dataset() -> None:
    ranks = rank_datasets([compared({"ensemble": BASE})])
    assert ranks.mean_ranks == {}
    assert "no two methods" in rank_table(ranks).notes[0]


@pytest.mark.parametrize(
    ("metric", "reason"), [(None, "no finished run of ensemble to compare with"), ("mae", "logged mae")]
)
def test_a_comparison_that_cannot_be_made_prints_its_reason_and_nothing_else(
    metric: str | None, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`bare` has neither the baseline nor the metric that the other one has."""
    bare = [run("up", s, v, dataset="bare") for s, v in enumerate(noisy(0.2, 1))]
    full = [run(m, s, v, metrics={"test/mae": v}) for m in ("ensemble", "up") for s, v in enumerate(noisy(0.1, 2))]
    found = comparisons([*bare, *full], "joint")
    made, missing = all_claims(found, NO_SAMPLES, "up" if metric else "ensemble", metric)
    assert [one.comparison.dataset for one in made] == ["toy.npz"]
    show_claims(made, missing, found, as_json=False, metric=metric)
    (said,) = (line for line in capsys.readouterr().out.splitlines() if "bare · " in line)
    assert said.startswith("bare · a + b · protocol file · preset default: no ")
    assert reason in said
    show_claims([], missing, found, as_json=False, metric=metric)
    assert capsys.readouterr().out.splitlines() == missing


def test_tables_of_statistics_that_cannot_be_made_are_named_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [run(m, s, v, dataset=d) for d in ("one", "two") for m in ("joint", "up") for s, v in enumerate(BASE)]
    found = comparisons(rows, "joint")
    tables = tables_of(found, rows, NO_SAMPLES, "ensemble", "joint", 2.0, ["statistics"])
    assert tables == {"statistics": []}
    (said,) = capsys.readouterr().err.splitlines()
    assert said == (
        "left out: statistics of one · a + b · protocol file · preset default and of 1 other comparison: no finished "
        "run of ensemble to compare with; give another --baseline"
    )


def test_beyond_32_pairs_nothing_is_called_exact() -> None:
    """The test then draws random patterns, and the smallest p is theirs."""
    found = claims(compared({"ensemble": noisy(0, 1, 40), "a": noisy(0.2, 2, 40)}), "ensemble")
    assert found.power is not None
    assert found.power.smallest == 1e-5
    told = " ".join(f"{table.title} {' '.join(table.notes)}" for table in claim_tables(found))
    assert "bold: better than ensemble (sign-flip with 99,999 random patterns over 40 (seed, fold) pairs" in told
    assert "primary: two-sided sign-flip with 99,999 random patterns" in told
    assert "exact" not in told.replace("McNemar: exact", "")
    few = claims(compared({"ensemble": noisy(0, 1, 32), "a": noisy(0.2, 2, 32)}), "ensemble")
    assert "primary: two-sided exact sign-flip" in claim_tables(few)[0].title
