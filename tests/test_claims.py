"""Claims: the primary test decides, secondary ones are told apart, power is said first; by hand and against scipy."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mcr_bench.bench.commands.reading import all_claims, show_claims
from mcr_bench.bench.record.samples import Samples
from mcr_bench.bench.report.claim_tables import (
    baseline_command,
    claim_data,
    claim_tables,
    command,
    power_lines,
    summary,
)
from mcr_bench.bench.report.claims import baseline_of, claims, leading
from mcr_bench.bench.report.lines import Comparison, comparisons
from mcr_bench.bench.report.ranking import rank_datasets, rank_table

SEEDS = range(10)
NO_SAMPLES: Any = SimpleNamespace(samples=lambda _: {})  # a record whose runs have no predictions


def run(method: str, seed: int, value: float, **changes: Any) -> dict[str, Any]:
    tags = {"role": {"ensemble": "ensemble", "unimodal": "unimodal"}.get(method, "method"), "modalities": "a,b"}
    tags |= {"config": method, "data_identity": "d", "overrides": "", "dataset_source": "toy.npz"}
    metrics = {
        "test/accuracy": value,
        "test/macro_f1": value / 2,
        "data/test_samples": 20.0,
        "data/train_samples": 80.0,
    }
    row = {"key": f"{method}{seed}", "method": method, "label": method, "dataset": "toy.npz", "protocol": "file"}
    row |= {"fold": 1, "seed": seed, "preset": "default", "status": "finished", "metric": "accuracy", "value": value}
    row |= {"unimodal": {}, "seconds": 1.0, "seconds_per_step": 0.1, "run_id": f"{method}-{seed}", "started": seed}
    nested = {name: values | changes.pop(name, {}) for name, values in (("tags", tags), ("metrics", metrics))}
    return row | nested | {"params": {}} | changes


def compared(values: Mapping[str, list[float]], **changes: Any) -> Comparison:
    rows = [run(m, s, v, **dict(changes)) for m, found in values.items() for s, v in enumerate(found)]
    (found,) = comparisons(rows, "joint")
    return found


def noisy(shift: float, seed: int = 0, count: int = 10) -> list[float]:
    return (0.5 + shift + 0.01 * np.random.default_rng(seed).standard_normal(count)).tolist()


BASE = noisy(0)


def test_the_primary_test_is_the_exact_sign_flip_with_holm() -> None:
    found = claims(
        compared({"ensemble": BASE, "up": noisy(0.2, 1), "same": noisy(0, 2), "down": noisy(-0.2, 3)}), "ensemble"
    )
    by = {one.label: one for one in found.against}
    for label, values in (("up", noisy(0.2, 1)), ("same", noisy(0, 2)), ("down", noisy(-0.2, 3))):
        d = np.array(values) - BASE
        expected = stats.permutation_test((d,), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue
        assert by[label].paired.sign_flip == pytest.approx(expected)
        assert by[label].paired.difference == pytest.approx(100 * d.mean())
        interval = stats.ttest_1samp(100 * d, 0).confidence_interval()
        assert (by[label].paired.interval.low, by[label].paired.interval.high) == pytest.approx(tuple(interval))
    assert by["up"].adjusted == pytest.approx(3 * 2 / 2**10)
    assert (found.better, found.worse) == ({"up"}, {"down"})
    assert leading(found)[0] == {"up"}
    assert "better than ensemble: up" in summary(found)
    assert "not separated from ensemble: same" in summary(found)


def test_where_nothing_is_better_the_baseline_and_what_is_not_worse_lead() -> None:
    found = claims(compared({"ensemble": BASE, "same": noisy(0, 2), "down": noisy(-0.2, 3)}), "ensemble")
    assert leading(found)[0] == {"ensemble", "same"}


def test_three_seeds_cannot_reach_alpha_and_get_no_bold_type_but_a_command() -> None:
    values = {name: noisy(shift, 4, 3) for name, shift in (("ensemble", 0.0), *((f"m{i}", 0.3) for i in range(7)))}
    found = claims(compared(values), "ensemble")
    assert found.power is not None
    assert (found.power.smallest, found.power.needed, found.power.reachable) == (1.0, 9, False)
    labels, rule = leading(found)
    assert labels == set()
    assert "3 (seed, fold) pair(s) cannot reach p <= 0.05 after Holm over 7 comparison(s)" in rule
    assert "9 can" in rule
    lines = power_lines(found)
    assert "mcr-bench run --methods" in lines[-1]
    assert lines[-1].endswith("--seeds 9")
    assert "--dataset toy.npz --protocol file --modalities a,b --preset default" in lines[-1]


def test_lower_is_better_turns_the_direction_and_keeps_the_units() -> None:
    changes = {"metric": "mae"}
    rows = [run("ensemble", s, 0, metrics={"test/mae": 1 + v}, **changes) for s, v in enumerate(BASE)]
    rows += [run("low", s, 0, metrics={"test/mae": 0.5 + v}, **changes) for s, v in enumerate(noisy(0, 5))]
    (comparison,) = comparisons(rows, "joint")
    found = claims(comparison, "ensemble")
    assert found.better == {"low"}
    assert found.against[0].paired.difference == pytest.approx(-0.5, abs=0.02)
    assert found.unit == "mae"
    assert "mae: lower is better" in claim_tables(found)[0].notes


def test_another_metric_on_record_can_be_asked_for() -> None:
    found = claims(compared({"ensemble": BASE, "up": noisy(0.2, 1)}), "ensemble", "macro_f1")
    assert found.against[0].paired.difference == pytest.approx(100 * np.mean(np.array(noisy(0.2, 1)) - BASE) / 2)


def test_unimodal_lines_are_no_part_of_the_family_unless_they_are_the_baseline() -> None:
    comparison = compared({"ensemble": BASE, "unimodal": noisy(-0.3, 6), "up": noisy(0.2, 1)})
    found = claims(comparison, "ensemble")
    assert [one.label for one in found.against] == ["up"]
    assert any("unimodal" in note for note in found.notes)
    assert {one.label for one in claims(comparison, "unimodal").against} == {"ensemble", "up"}


def test_only_common_seeds_and_folds_are_paired() -> None:
    found = claims(compared({"ensemble": BASE, "short": noisy(0.2, 1, 4), "up": noisy(0.2, 1)}), "ensemble")
    assert {one.label: one.paired.n for one in found.against} == {"short": 4, "up": 10}
    assert any("fewer pairs than the others: short (4)" in note for note in found.notes)


def test_what_too_few_pairs_can_test_is_not_in_bold_and_said() -> None:
    found = claims(compared({"ensemble": BASE, "short": noisy(-0.3, 1, 2), "same": noisy(0, 2)}), "ensemble")
    assert found.untested == {"short": 2}
    assert leading(found)[0] == {"ensemble", "same"}
    assert any("not tested: short: 2 pairs" in note for note in claim_tables(found)[0].notes)
    assert "not tested against ensemble: short: 2 pairs" in summary(found)
    assert "not separated from ensemble: same" in summary(found)


def test_lines_that_are_untested_because_all_are_are_not_listed() -> None:
    found = claims(compared({"ensemble": BASE[:3], "up": noisy(0.2, 1, 3), "same": noisy(0, 2, 3)}), "ensemble")
    assert set(found.untested) == {"up", "same"}
    (note,) = (note for note in claim_tables(found)[0].notes if "cannot reach" in note)
    assert note.startswith("no bold type: 3 (seed, fold) pair(s) cannot reach")


def test_another_preset_is_no_part_of_the_family() -> None:
    values = {"ensemble": BASE, "up": noisy(0.2, 1), "same": noisy(0, 2)}
    rows = [run(m, s, v) for m, found in values.items() for s, v in enumerate(found)]
    (before,) = comparisons(rows, "joint")
    tuned = [run(m, s, v, preset="tuned") for m in ("up", "same", "ensemble") for s, v in enumerate(noisy(0.1, 7))]
    after, other = comparisons(rows + tuned, "joint")
    assert claims(after, "ensemble").against == claims(before, "ensemble").against
    assert (after.preset, other.preset) == ("default", "tuned")


def test_only_lines_that_span_folds_are_said_to_overlap() -> None:
    spanning = [run(m, s, v, fold=1 + s % 5) for m in ("ensemble", "up") for s, v in enumerate(noisy(0.2, 1))]
    (comparison,) = comparisons([*spanning, run("one", 0, 0.5)], "joint")
    notes = claims(comparison, "ensemble").notes
    assert any("intervals and t tests of up carry the Nadeau-Bengio correction" in note for note in notes)
    assert not any("not on record" in note for note in notes)


def test_lower_is_better_turns_superiority_too_and_keeps_four_decimals() -> None:
    rows = [run("ensemble", s, v, metric="mae", metrics={"test/mae": v}) for s, v in enumerate(BASE)]
    rows += [run("low", s, v, metric="mae", metrics={"test/mae": v}) for s, v in enumerate(noisy(-0.3, 5))]
    (comparison,) = comparisons(rows, "joint")
    primary, secondary, _ = claim_tables(claims(comparison, "ensemble"))
    assert secondary.rows[0][secondary.columns.index("superiority")] == 1.0
    assert primary.digits[1:4] == (4, 4, 4)


def test_nothing_in_common_is_said_and_not_tested() -> None:
    rows = [run("ensemble", s, v) for s, v in enumerate(BASE)] + [run("late", 20, 0.9)]
    (comparison,) = comparisons(rows, "joint")
    found = claims(comparison, "ensemble")
    assert found.against == []
    assert claim_tables(found) == []
    assert leading(found)[0] == set()
    assert "nothing to test" in power_lines(found)[0]
    assert any("not tested: late" in note for note in found.notes)


def test_folds_of_the_same_data_get_the_corrected_interval() -> None:
    rows = [
        run(m, s, v, fold=1 + s % 5)
        for m in ("ensemble", "up")
        for s, v in enumerate(BASE if m != "up" else noisy(0.2, 1))
    ]
    (comparison,) = comparisons(rows, "joint")
    one = claims(comparison, "ensemble").against[0].paired
    assert one.resampled
    d = 100 * (np.array(noisy(0.2, 1)) - BASE)
    half = stats.t.ppf(0.975, 9) * d.std(ddof=1) * np.sqrt(1 / 10 + 20 / 80)
    assert one.interval.high - one.interval.low == pytest.approx(2 * half)


def test_all_pairs_are_a_family_of_their_own() -> None:
    values = {"ensemble": BASE, "up": noisy(0.2, 1), "same": noisy(0, 2), "down": noisy(-0.2, 3)}
    found = claims(compared(values), "ensemble")
    assert len(found.pairs.adjusted) == 6
    assert found.pairs.adjusted["ensemble", "up"] == pytest.approx(6 * 2 / 2**10)
    assert found.pairs.differences["up", "down"] == pytest.approx(
        100 * np.mean(np.array(values["up"]) - values["down"])
    )
    table = claim_tables(found)[2]
    assert table.rows[0][2] == f"{-found.against[0].paired.difference:+.2f}*"


def samples_of(rows: Mapping[str, np.ndarray], groups: int) -> Any:
    ids = np.array([f"s{i}" for i in range(len(next(iter(rows.values()))))])
    names = np.array([f"g{i % groups}" for i in range(len(ids))])
    found = {run_id: Samples(ids, names, score.astype(np.float32)) for run_id, score in rows.items()}
    return lambda wanted: {run_id: found[run_id] for run_id in wanted if run_id in found}


def test_per_sample_tests_read_stored_scores() -> None:
    rng = np.random.default_rng(0)
    scores = {f"{m}-{s}": rng.random(400) < p for m, p in (("ensemble", 0.5), ("up", 0.7)) for s in SEEDS}
    comparison = compared({"ensemble": BASE, "up": noisy(0.2, 1)})
    tests = claims(comparison, "ensemble", read_samples=samples_of(scores, 20)).against[0].samples
    assert tests is not None
    a, b = scores["up-0"], scores["ensemble-0"]
    assert tests.mcnemar[0] == pytest.approx(stats.binomtest(int((a & ~b).sum()), int((a != b).sum())).pvalue)
    assert tests.groups.low < 20 < tests.groups.high
    assert tests.seeds_groups.low < 20 < tests.seeds_groups.high
    few = claims(comparison, "ensemble", read_samples=samples_of(scores, 4))
    refused = few.against[0].samples
    assert refused is not None
    assert "4 group" in refused.groups.refused
    assert any(note.startswith("groups interval refused") for note in claim_tables(few)[1].notes)


def test_one_pair_has_no_interval_and_runs_without_a_partner_are_told() -> None:
    rows = [run("ensemble", 0, 0.5), *(run("up", s, v) for s, v in enumerate([0.7, 0.9]))]
    primary = claim_tables(claims(*comparisons(rows, "joint"), "ensemble"))[0]
    assert any(note.startswith("interval refused: 1 pair ") for note in primary.notes)
    assert any("over the pairs alone" in note and "up (1 pairs; 2 runs, 1 of" in note for note in primary.notes)
    paired = claim_tables(claims(compared({"ensemble": BASE, "up": noisy(0.2, 1)}), "ensemble"))[0]
    assert not any("over the pairs alone" in note for note in paired.notes)


def test_differences_that_cancel_are_zero_and_no_rounding_error() -> None:
    found = claims(compared({"ensemble": [10 / 30, 9 / 30], "up": [8 / 30, 11 / 30]}), "ensemble")
    assert found.against[0].paired.difference == 0
    assert claim_tables(found)[0].text()[1][1] == "0.00"


def test_per_sample_tests_say_on_how_many_runs_they_rest_and_what_they_assume() -> None:
    scores = {f"{m}-{s}": np.arange(40) % 2 for m in ("ensemble", "up") for s in range(4)}
    comparison = compared({"ensemble": BASE, "up": noisy(0.2, 1)})
    table = claim_tables(claims(comparison, "ensemble", read_samples=samples_of(scores, 20)))[1]
    assert table.rows[0][table.columns.index("runs")] == "4 of 10"
    assert any("takes the samples as independent, which those of one group are not" in note for note in table.notes)


def test_regression_has_no_mcnemar_test_and_says_why() -> None:
    scores = {f"{m}-{s}": 0.3 + 0.01 * np.arange(40) for m in ("ensemble", "up") for s in SEEDS}
    comparison = compared({"ensemble": BASE, "up": noisy(0.2, 1)})
    table = claim_tables(claims(comparison, "ensemble", read_samples=samples_of(scores, 20)))[1]
    assert table.rows[0][table.columns.index("McNemar p")] is None
    assert "no McNemar test: regression has no right and wrong predictions" in table.notes
    assert not any(note.startswith("McNemar") for note in table.notes)


def test_data_without_groups_are_not_said_to_have_any() -> None:
    ids = np.array([f"s{i}" for i in range(40)])
    found = {
        f"{m}-{s}": Samples(ids, ids, (np.arange(40) % (2 + (m == "up")) == 0).astype(np.float32))
        for m in ("ensemble", "up")
        for s in SEEDS
    }
    comparison = compared({"ensemble": BASE, "up": noisy(0.2, 1)})
    table = claim_tables(claims(comparison, "ensemble", read_samples=lambda i: {k: found[k] for k in i}))[1]
    assert {"samples low", "seeds × samples high"} <= set(table.columns)
    assert any(note.startswith("samples (no groups named)") for note in table.notes)


def test_per_sample_tests_are_left_out_where_they_would_be_about_another_metric() -> None:
    comparison = compared({"ensemble": BASE, "up": noisy(0.2, 1)})
    read = samples_of({f"{m}-{s}": np.ones(40) for m in ("ensemble", "up") for s in SEEDS}, 20)
    assert claims(comparison, "ensemble", "macro_f1", read_samples=read).against[0].samples is None


def test_folds_that_test_other_samples_are_joined_by_id() -> None:
    rows = [run(m, s, v, fold=s + 1) for m in ("ensemble", "up") for s, v in enumerate([0.5, 0.6])]
    (comparison,) = comparisons(rows, "joint")
    found = {}
    for m, right in (("ensemble", 0.0), ("up", 1.0)):
        for s in range(2):
            ids = np.array([f"fold{s}-{i}" for i in range(30)])
            found[f"{m}-{s}"] = Samples(
                ids, np.array([f"g{i % 15}" for i in range(30)]), np.full(30, right, np.float32)
            )
    tests = claims(comparison, "ensemble", read_samples=lambda ids: {i: found[i] for i in ids}).against[0].samples
    assert tests is not None
    assert len(tests.mcnemar) == 2
    assert tests.mcnemar[0] == pytest.approx(2 / 2**30)


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
    (comparison,) = comparisons([row | {"preset": "tuned"} for row in rows], "joint")
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


def ranked(dataset: str, values: Mapping[str, float], **changes: Any) -> list[dict[str, Any]]:
    return [run(m, 0, v, dataset=dataset, tags={"dataset_source": dataset}, **changes) for m, v in values.items()]


def test_ranks_take_the_first_preset_and_the_plainest_line_of_a_method() -> None:
    rows = ranked("one", {"a": 0.9, "b": 0.5}) + ranked("two", {"a": 0.8, "b": 0.6})
    rows += ranked("one", {"a": 0.1, "b": 0.2}, preset="tuned", started=5)
    rows += [run("b", 0, 0.99, dataset="one", label="b [x=1]", tags={"config": "c", "overrides": "x=1"})]
    ranks = rank_datasets(comparisons(rows, "a"))
    assert ranks.mean_ranks == {"a": 1.0, "b": 2.0}
    table = rank_table(ranks)
    assert table.title == "Mean ranks over 2 dataset(s) by test accuracy"
    assert any("fewest settings of its own" in note for note in table.notes)
    assert any(note.startswith("over one") and "preset default" in note for note in table.notes)


def test_ranks_by_a_metric_that_is_asked_for_and_name_it() -> None:
    rows = [row | {"metrics": {"test/mae": row["value"]}} for d in "xy" for row in ranked(d, {"a": 0.9, "b": 0.5})]
    ranks = rank_datasets(comparisons([*rows[:3], rows[3] | {"metrics": {"test/mae": 0.4}}], "a"), "mae")
    assert ranks.mean_ranks == {"b": 1.0, "a": 2.0}
    assert ranks.by == "test mae"


def test_the_same_data_under_two_names_is_ranked_once() -> None:
    rows = [row for d in ("one", "again") for row in ranked(d, {"a": 0.9, "b": 0.5})]
    ranks = rank_datasets(comparisons(rows + ranked("other", {"a": 0.7, "b": 0.6}), "a"))
    assert ranks.datasets == 2
    assert "one left out: every method has the mean that it has on again" in ranks.reason


def test_ranks_need_two_methods_on_every_dataset() -> None:
    ranks = rank_datasets([compared({"ensemble": BASE})])
    assert ranks.mean_ranks == {}
    assert "no two methods" in rank_table(ranks).notes[0]


@pytest.mark.parametrize(("metric", "reason"), [(None, "no run of ensemble to compare with"), ("mae", "logged mae")])
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
    assert said.startswith("bare · a + b · protocol file · preset default: no run")
    assert reason in said
    show_claims([], missing, found, as_json=False, metric=metric)
    assert capsys.readouterr().out.splitlines() == missing
