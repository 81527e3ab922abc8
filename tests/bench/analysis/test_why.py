"""The tables of diagnostics: their numbers recomputed from the rows, for classes and scores, and for older records."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.table import Table
from mcr_bench.bench.analysis.why.tables import QUESTIONS, encoder_table, why_tables
from mcr_bench.bench.problem.metrics import subset_metric
from mcr_bench.bench.record.entities import name_of
from mcr_bench.bench.report.html.page import report_page
from mcr_bench.tests.support.records.figure_rows import compared, line, row
from mcr_bench.tests.support.records.report_contents import Parsed, contents, runs

PROBES = {"audio": [0.52, 0.50, 0.57, 0.49], "video": [0.31, 0.29, 0.30, 0.33]}
ALONE = {"audio": [0.50, 0.52, 0.55, 0.48], "video": [0.60, 0.56, 0.61, 0.63]}


def metrics_of(method: str, seed: int, metric: str = "accuracy") -> dict[str, float]:
    """What a run of two modalities logs; numbers that differ by method and seed."""
    shift = 0.01 * seed + (0.1 if method == "other" else 0.0)
    found = {f"test/oracle/{metric}": 0.8 + shift, f"test/intact/{metric}": 0.7 + shift}
    for i, m in enumerate(("audio", "video")):
        found |= {f"test/modality/{m}/{metric}": PROBES[m][seed], f"test/subset/{m}/{metric}": 0.4 + 0.1 * i + shift}
        found |= {f"test/contribution/{m}": 0.3 - 0.2 * i, f"test/permuted/{m}/{metric}": 0.5 - 0.1 * i + shift}
        found |= {f"test/noise/{m}/{n}/{metric}": 0.6 - 0.1 * float(n) + shift for n in ("0.5", "1", "2")}
        found |= {f"test/perceptual/{m}/{metric}": 0.25 + 0.5 * i}
        found |= {f"mean_train/gradient_norm/{m}": 2.0 + shift, f"mean_train/update_ratio/{m}": 0.01 * (1 + i + shift)}
        found |= {f"mean_train/update_per_gradient/{m}": 5.0, f"mean_train/coefficient/{m}": 1.6 - i}
    return found


def comparison(metric: str = "accuracy", seeds: int = 4) -> Comparison:
    def method(label: str) -> list[Any]:
        own = [metrics_of(label, seed, metric) for seed in range(seeds)]
        return [row(label, seed, 0.7 + 0.01 * seed, metric=metric, metrics=own[seed]) for seed in range(seeds)]

    alone = [line(f"unimodal ({m})", ALONE[m][:seeds], "unimodal", modalities=(m,), metric=metric) for m in ALONE]
    return compared(*alone, line("ensemble", [0.7] * seeds, "ensemble", metric=metric), method("base"), method("other"))


def named(one: Comparison, end: str) -> dict[tuple[str, str], dict[str, Any]]:
    """(label, modality) -> column -> cell of one of the tables."""
    (table,) = [table for table in why_tables(one, "base") if table.title.endswith(end)]
    lines = [dict(zip(table.columns, cells, strict=True)) for cells in table.rows]
    return {(cells["method"], cells.get("modality", "")): cells for cells in lines}


def test_the_encoders_of_a_method_are_compared_with_those_trained_alone() -> None:
    cells = named(comparison(), "why: encoders")
    assert list(cells) == [(label, m) for label in ("base", "other") for m in ("audio", "video")]
    for m in ALONE:
        found, difference = cells["base", m], 100 * (np.array(PROBES[m]) - ALONE[m])
        half = stats.t.ppf(0.975, 3) * difference.std(ddof=1) / 2
        assert found["probe against alone (percentage points)"] == pytest.approx(difference.mean())
        assert (found["95 % low"], found["high"]) == pytest.approx((difference.mean() - half, difference.mean() + half))
        assert found["trained alone"] == pytest.approx(np.mean(ALONE[m]))
        assert found["probe"] == pytest.approx(np.mean(PROBES[m]))
        assert found["fused"] == pytest.approx(0.715)
        assert found["n"] == 4
    assert cells["base", "audio"]["from it alone"] == pytest.approx(0.415)
    assert cells["base", "video"]["encoder"] == "undertrained"
    assert cells["base", "audio"]["encoder"] == "not separated"


def test_where_lower_is_better_a_worse_encoder_is_still_below_0() -> None:
    cells = named(comparison("mae"), "why: encoders")
    assert cells["base", "video"]["probe against alone (MAE)"] == pytest.approx(np.mean(ALONE["video"]) - 0.3075)
    assert cells["base", "video"]["encoder"] == "better than alone"
    reliance = named(comparison("mae"), "why: reliance")["base", "audio"]
    assert reliance["Shapley (MAE)"] == pytest.approx(-0.3)
    assert reliance["lost: permuted (MAE)"] == pytest.approx(-0.2)  # the error fell, so that less than nothing was lost


def test_one_pair_has_no_interval_and_no_verdict() -> None:
    one = comparison(seeds=1)
    cells = named(one, "why: encoders")["base", "video"]
    assert (cells["n"], cells["encoder"]) == (1, "-")
    table = encoder_table(one)
    assert isinstance(table, Table)
    assert any("1 pair carries no estimate of spread" in note for note in table.notes)


def test_missing_modalities_and_the_headroom_above_the_fused_result() -> None:
    cells = named(comparison(), "why: missing modalities")["other", ""]
    assert cells["oracle"] == pytest.approx(0.915)
    assert cells["headroom (percentage points)"] == pytest.approx(20.0)
    assert (cells["only audio"], cells["only video"]) == pytest.approx((0.515, 0.615))
    assert "without audio" not in cells


def test_all_but_one_of_three_modalities() -> None:
    three = ("audio", "video", "text")
    logged = {"test/subset/audio.text/accuracy": 0.6, "test/subset/text/accuracy": 0.3}
    one = compared([row("base", 0, 0.7, modalities=three, metrics=logged)], modalities=three)
    cells = named(one, "why: missing modalities")["base", ""]
    assert (cells["without video"], cells["only text"]) == (0.6, 0.3)
    assert "only audio" not in cells  # not on record


@pytest.mark.parametrize(("third", "known"), [("text", 0.6), ("audio_video", None)])
def test_subsets_of_an_earlier_record_are_read_unless_they_may_be_another_modality(
    third: str, known: float | None
) -> None:
    three = ("audio", "video", third)
    logged = {"test/subset/audio_video/accuracy": 0.6, "test/subset/audio/accuracy": 0.5}
    one = compared([row("base", 0, 0.7, modalities=three, metrics=logged)], modalities=three)
    assert named(one, "why: missing modalities")["base", ""].get(f"without {third}") == known


def test_runs_of_both_names_count_in_one_line() -> None:
    logged = [{"test/subset/audio_text/accuracy": 0.2}, {"test/subset/audio.text/accuracy": 0.6}]
    three = ("audio", "video", "text")
    rows = [row("base", seed, 0.7, modalities=three, metrics=metrics) for seed, metrics in enumerate(logged)]
    cells = named(compared(rows, modalities=three), "why: missing modalities")["base", ""]
    assert cells["without video"] == pytest.approx(0.4)


def test_the_record_has_a_name_of_its_own_for_each_subset() -> None:
    names = [subset_metric(subset, "mae") for subset in (("a", "b"), ("a_b",), ("a-b",), ("a",), ("b",))]
    assert len({name_of(name) for name in names}) == 5
    assert [name_of(name) for name in names] == names


def test_encoders_are_compared_on_the_samples_that_have_the_modality() -> None:
    alone = [  # of all test samples, and of those that have audio
        row(f"unimodal ({m})", seed, 0.5, "unimodal", (m,), metrics={f"test/modality/{m}/accuracy": 0.8 + 0.01 * seed})
        for m in ("audio",)
        for seed in range(3)
    ]
    base = [row("base", seed, 0.9, metrics={"test/modality/audio/accuracy": 0.7 - 0.01 * seed}) for seed in range(3)]
    cells = named(compared(alone, base), "why: encoders")["base", "audio"]
    assert cells["trained alone"] == pytest.approx(0.81)
    assert cells["probe against alone (percentage points)"] == pytest.approx(-12.0)  # mean of -10, -12 and -14
    assert cells["encoder"] == "undertrained"  # 12 +- 4.303 * 2 / sqrt(3)


def test_gains_are_means_over_the_runs_that_have_both_numbers() -> None:
    first = {"test/accuracy": 0.5, "test/oracle/accuracy": 0.8, "test/intact/accuracy": 0.5}
    first |= {"test/permuted/audio/accuracy": 0.4, "test/contribution/audio": 0.1}
    second = {"test/accuracy": 0.9, "test/intact/accuracy": 0.9, "test/contribution/audio": 0.1}
    one = compared([row("base", seed, of["test/accuracy"], metrics=of) for seed, of in enumerate((first, second))])
    cells = named(one, "why: missing modalities")["base", ""]
    assert (cells["all"], cells["oracle"]) == (0.7, 0.8)
    assert cells["headroom (percentage points)"] == pytest.approx(30.0)  # of the one run with an oracle
    lost = named(one, "why: reliance")["base", "audio"]["lost: permuted (percentage points)"]
    assert lost == pytest.approx(10.0)


def test_what_differs_by_rounding_alone_is_no_loss() -> None:
    noisy = "test/noise/audio/1/accuracy"
    logged = {"test/intact/accuracy": 0.1 + 0.2, noisy: 0.3, "test/contribution/audio": 6.9e-17}
    assert logged["test/intact/accuracy"] > 0.3
    cells = named(compared([row("base", 0, 0.3, metrics=logged)]), "why: reliance")
    assert cells["base", "audio"]["noise 1 sd (percentage points)"] == 0.0
    assert cells["base", "audio"]["Shapley (percentage points)"] == 0.0


def test_reliance_is_told_in_percentage_points_lost() -> None:
    cells = named(comparison(), "why: reliance")["base", "video"]
    assert cells["Shapley (percentage points)"] == pytest.approx(10.0)
    assert cells["perceptual (% of accuracy)"] == pytest.approx(75.0)
    assert cells["lost: permuted (percentage points)"] == pytest.approx(30.0)
    assert cells["noise 2 sd (percentage points)"] == pytest.approx(30.0)


def test_steps_are_relative_to_the_baseline() -> None:
    cells = named(comparison(), "why: steps")
    assert cells["base", "audio"]["× moved"] == cells["base", "video"]["× gradient"] == 1.0
    assert cells["other", "audio"]["× moved"] == pytest.approx(1.115 / 1.015)
    assert cells["other", "audio"]["× gradient"] == pytest.approx(2.115 / 2.015)
    assert cells["other", "audio"]["update (% of weights)"] == pytest.approx(1.115)
    assert cells["other", "audio"]["coefficient"] == pytest.approx(1.6)


def test_a_record_without_diagnostics_has_tables_of_what_it_has() -> None:
    old = compared(
        line("unimodal (audio)", [0.5, 0.52], "unimodal", modalities=("audio",)),
        [row("base", seed, 0.6, metrics={"test/modality/audio/accuracy": 0.4 + 0.01 * seed}) for seed in range(2)],
    )
    assert [table.title.rpartition(" · ")[2] for table in why_tables(old, "base")] == ["why: encoders"]
    assert why_tables(compared(line("base", [0.6])), "base") == []


def test_the_page_has_a_section_of_answers() -> None:
    measured = {f"test/subset/{m}/accuracy": 0.4 for m in ("audio", "video")}
    page = Parsed(report_page(contents(runs(6, metrics=measured))))
    assert "Why" in page.texts
    assert QUESTIONS["why: missing modalities"] in page.texts
    assert QUESTIONS["why: steps"] not in page.texts
    assert page.open == []
