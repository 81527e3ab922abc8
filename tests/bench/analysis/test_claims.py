"""Claims: the primary test decides, power is said first, who is in the family; by hand and against scipy."""

import numpy as np
import pytest
from scipy import stats

from mcr_bench.bench.analysis.claims import claims, leading
from mcr_bench.bench.analysis.comparisons import comparisons
from mcr_bench.bench.report.claim_tables import claim_data, claim_tables, power_lines, summary
from mcr_bench.tests.support.records.claimed_runs import BASE, compared, noisy, run


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
    assert "3 (seed, fold) pairs cannot reach p <= 0.05 after Holm over 7 comparisons" in rule
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
    assert note.startswith("no bold type: 3 (seed, fold) pairs cannot reach")


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


def test_lines_outside_the_named_family_are_explored_with_a_correction_of_their_own() -> None:
    values = {"ensemble": BASE, "named": noisy(0.2, 1), "flat": noisy(0, 2)}
    explored = {f"other{n}": noisy(0.2, 10 + n) for n in range(12)}
    rows = [run(label, s, v) for label, runs in values.items() for s, v in enumerate(runs)]
    rows += [
        run(label, s, v, tags={"primary": "false"}) for label, runs in explored.items() for s, v in enumerate(runs)
    ]
    (comparison,) = comparisons(rows, "joint")
    found = claims(comparison, "ensemble")
    by = {one.label: one for one in found.against}
    assert {one.label for one in found.family} == {"named", "flat"}
    assert by["named"].adjusted == pytest.approx(2 * 2 / 2**10)  # Holm over the two named lines
    assert min(by[label].adjusted for label in explored) == pytest.approx(12 * 2 / 2**10)
    assert found.better == {"named"}  # although the explored lines differ as much
    assert leading(found)[0] == {"named"}
    assert found.power is not None
    assert found.power.comparisons == 2
    assert any(note.startswith("explored: other0, other1") for note in found.notes)
    told = claim_data(found)["against"]
    assert isinstance(told, list)
    assert {one["method"] for one in told if one["primary"]} == {"named", "flat"}


def test_rounding_is_significant_in_no_pair() -> None:
    """Lines whose errors differ by the rounding of their sums, with one sign in all pairs."""
    low = [0.3] * 10
    found = claims(compared({"joint": low, "ensemble": [0.1 + 0.2] * 10, "up": [0.5] * 10}), "ensemble")
    assert found.pairs.differences["ensemble", "joint"] == 0
    assert found.pairs.adjusted["ensemble", "joint"] == 1
    assert found.pairs.adjusted["joint", "up"] < 0.05
