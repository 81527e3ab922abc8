"""Figures: what is drawn equals numbers worked out by hand; missing data is said in words; hard cases draw cleanly."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from mcr_bench.bench.analysis.claims import paired_against
from mcr_bench.bench.analysis.ranking import rank_datasets
from mcr_bench.bench.figures.budget import budget
from mcr_bench.bench.figures.contribution import contribution
from mcr_bench.bench.figures.error_groups import error_groups
from mcr_bench.bench.figures.forest import forest
from mcr_bench.bench.figures.methods import methods
from mcr_bench.bench.figures.pareto import front, pareto
from mcr_bench.bench.figures.race import race
from mcr_bench.bench.figures.ranks import rank_diagram
from mcr_bench.bench.figures.style import Missing, marks
from mcr_bench.bench.record.files.samples import Samples
from mcr_bench.bench.statistics.ranks import rank
from mcr_bench.tests.support.records.figure_rows import TWO, compared, line, look, row, small, words, xs


def test_methods_shows_means_t_intervals_and_both_reference_lines_in_per_cent() -> None:
    found = small()
    figure = methods(found, look(found))
    (mean,) = xs(figure, look(found)["other"])
    assert mean == pytest.approx(72)
    # t(.975, 2) = 4.302653; sd of .70 .74 .72 is .02.
    half = 4.302653 * 2 / math.sqrt(3)
    ends = [np.asarray(a.get_xdata()) for a in figure.axes[0].lines if len(np.asarray(a.get_xdata())) == 2]
    assert any(np.allclose(e, [72 - half, 72 + half], atol=1e-4) for e in ends)
    assert any(np.allclose(e, [62, 62]) for e in ends), "the ensemble"
    assert any(np.allclose(e, [57, 57]) for e in ends), "the best unimodal"
    assert "t interval over 3 runs" in words(figure)


def test_methods_writes_a_far_unimodal_line_at_the_edge() -> None:
    found = compared(line("unimodal (audio)", [0.2, 0.2], "unimodal"), line("a", [0.80, 0.81]), line("b", [0.82, 0.83]))
    figure = methods(found, look(found))
    assert figure.axes[0].get_xlim()[0] > 70
    assert "← 20" in words(figure)


def test_an_interval_beyond_the_axis_ends_in_an_arrow_head() -> None:
    found = compared(line("a", [0.80, 0.81]), line("b", [0.80, 0.81]))  # t(.975, 1) = 12.7: half width 6.4 points
    figure = methods(found, look(found))
    assert {"<", ">"} <= {artist.get_marker() for artist in figure.axes[0].lines}
    assert "goes on beyond the axis" in words(figure)


@pytest.mark.parametrize(("values", "reason"), [([0.5], "one run per line"), ([0.5, 0.5], "no spread over runs")])
def test_without_spread_there_is_no_interval_and_the_figure_says_why(values: list[float], reason: str) -> None:
    found = compared(line("a", values), line("b", values))
    assert f"{reason}: no intervals" in words(methods(found, look(found)))


def test_forest_is_paired_by_seed_and_holm_covers_all_that_is_shown() -> None:
    found = small()
    found.lines["other"].reverse()
    tests = paired_against(found, "ensemble", "accuracy")
    assert set(tests) == {"base", "other"}
    test, p = tests["other"]
    assert test.difference == pytest.approx(0.1)
    assert test.sign_flip == pytest.approx(0.25)  # all three differ in the same direction: 2 of 8 patterns
    assert p == pytest.approx(0.5)  # Holm: twice the smallest of two
    figure = forest(found, look(found))
    assert xs(figure, look(found)["other"]) == [pytest.approx(10)]
    assert "p = .500" in words(figure)
    assert "n = 3 cannot reach p ≤ 0.05 over 2 comparisons; n = 7 can" in words(figure)  # 2 x 2 / 2^7 = .031


def test_forest_fills_what_is_significant() -> None:
    found = compared(
        line("ensemble", [0.5 + 0.001 * i for i in range(8)], "ensemble"),
        line("clear", [0.6 + 0.002 * i for i in range(8)]),
        line("unclear", [0.5 + 0.01 * (-1) ** i for i in range(8)]),
    )
    figure = forest(found, look(found))
    faces = {a.get_marker(): a.get_markerfacecolor() for a in figure.axes[0].lines}
    assert faces[look(found)["unclear"].marker] == "white"
    assert faces[look(found)["clear"].marker] == look(found)["clear"].colour


def test_forest_of_an_error_puts_the_best_first_and_says_the_direction() -> None:
    found = compared(
        line("ensemble", [0.9, 0.91], "ensemble", metric="mae"),
        line("worse", [0.95, 0.97], metric="mae"),
        line("better", [0.8, 0.83], metric="mae"),
    )
    figure = forest(found, look(found))
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["better", "worse"]
    assert "mae, below 0 is better" in figure.axes[0].get_xlabel()
    assert xs(figure, look(found)["better"]) == [pytest.approx(-0.09)]


def test_forest_numbers_its_baseline_as_the_other_lines() -> None:
    base, other = ("a setting in many words" + f" [a.b={'x' * 60}{n}]" for n in (1, 2))
    found = compared(line(base, [0.5, 0.6, 0.7]), line(other, [0.6, 0.8, 0.9]))
    figure = forest(found, look(found), base)
    axes = figure.axes[0]
    assert "(2)" in axes.get_xlabel()
    below = "".join(text.get_text() for text in figure.texts)
    assert f"(2){base}".replace(" ", "") in "".join(below.split())


def test_forest_names_the_family_and_what_it_leaves_out() -> None:
    """Two lines of the family, three explored ones with a correction of their own, and one of other seeds."""
    values = {n: [0.5 + 0.01 * n + 0.001 * i * n for i in range(8)] for n in range(6)}
    names = ("joint", "mcr", "agm", "ogm", "mlb")
    found = compared(line("ensemble", values[0], "ensemble"), *(line(m, values[n]) for n, m in enumerate(names, 1)))
    for name in names:
        found.lines[name][:] = [replace(row, primary=name in names[:2]) for row in found.lines[name]]
    found.lines["pmr"] = [replace(row, label="pmr", method="pmr", seed=90 + row.seed) for row in found.lines["ogm"]]
    below = " ".join(text.get_text().replace("\n", " ") for text in forest(found, look(found)).texts)
    assert "Holm over 2 of the family and over 3 explored" in below
    assert "the family named before training: mcr, joint; all others are explored" in " ".join(below.split())
    assert "not compared, as budgets or seeds differ: pmr" in " ".join(below.split())


def test_forest_names_a_missing_baseline() -> None:
    found = compared(line("a", [0.5]), line("b", [0.6]))
    with pytest.raises(Missing, match="no ensemble"):
        forest(found, look(found))
    with pytest.raises(Missing, match="nobody"):
        forest(found, look(found), "nobody")
    apart = compared(line("a", [0.5]), [row("b", 7, 0.6)])
    with pytest.raises(Missing, match="in common with a"):
        forest(apart, look(apart), "a")


def curves(run_id: str) -> Mapping[str, Sequence[tuple[int, float]]]:
    last = 3 if run_id.endswith("0") else 2
    base = 0.5 if run_id.endswith("0") else 0.7
    epochs = range(1, last + 1)
    found = {f"val/modality/{m}/accuracy": [(e, base) for e in epochs] for m in TWO}
    found["train/gradient_norm/audio"] = [(e, 3.0) for e in epochs]
    found["train/gradient_norm/video"] = [(e, 1.0) for e in epochs]
    if run_id.startswith("other"):
        found["train/coefficient/audio"] = [(e, 0.25) for e in epochs]
    return found


def test_race_shows_means_over_runs_and_shares_of_the_gradient() -> None:
    found = small()
    figure = race(found, look(found), curves)
    assert len(figure.axes) == 6, "two methods, three panels; unimodal lines and the ensemble do not race"
    validation, shares, coefficient = figure.axes[3:]
    # Seeds 0, 1, 2: .5 (three epochs), .7, .7 (two epochs): the third epoch has one run of three, fewer than half.
    assert np.asarray(validation.lines[0].get_xdata()).tolist() == [1, 2]
    assert np.asarray(validation.lines[0].get_ydata()) == pytest.approx([63.3333, 63.3333], abs=1e-3)
    assert [float(np.asarray(a.get_ydata())[0]) for a in shares.lines] == [0.75, 0.25]
    assert [float(np.asarray(a.get_ydata())[0]) for a in coefficient.lines] == [0.25]
    assert [t.get_text() for t in figure.axes[2].texts] == ["none"]


def test_race_gives_coefficients_of_each_method_a_scale_of_their_own() -> None:
    """Beside weights of thousands, factors from 0 to 1 were a flat line."""
    found = compared(line("small", [0.5, 0.6]), line("large", [0.5, 0.6]))
    large = {row.run_id for row in found.lines["large"]}
    grown = {"train/coefficient/audio": [(1, 0.5), (2, 1.0)], "train/coefficient/video": [(1, 1.0), (2, 1.0)]}
    grown |= {f"val/modality/{m}/accuracy": [(1, 0.5), (2, 0.6)] for m in ("audio", "video")}

    def history(run: str) -> dict[str, list[tuple[int, float]]]:
        factor = 10_000 if run in large else 1
        return {name: [(e, v * factor if "coefficient" in name else v) for e, v in c] for name, c in grown.items()}

    figure = race(found, look(found), history)
    first, of_small, second, of_large = figure.axes
    assert of_small.get_ylim()[1] < 2 < 10_000 <= of_large.get_ylim()[1]
    assert first.get_ylim() == second.get_ylim()
    assert "each method on a scale of its own" in words(figure)


def test_race_drops_a_column_that_nobody_fills_and_says_when_there_is_none() -> None:
    found = compared(line("a", [0.5, 0.6]))
    assert len(race(found, look(found), curves).axes) == 2
    with pytest.raises(Missing, match="no run has curves"):
        race(found, look(found), lambda _: {})


def test_front_keeps_what_nothing_beats() -> None:
    points = {"cheap": (1.0, 0.5), "equal": (1.0, 0.4), "good": (2.0, 0.7), "waste": (3.0, 0.6), "best": (4.0, 0.8)}
    assert front(points, True) == ["cheap", "good", "best"]
    assert front(points, False) == ["equal"]


def test_pareto_is_relative_to_the_baseline_and_counts_all_encoders() -> None:
    found = compared(
        line("ensemble", [0.6, 0.62], "ensemble", own={"epochs": 0, "test/accuracy": 0.6}),
        line("base", [0.61, 0.62], "reference", seconds=0.02),
        line("slow", [0.7, 0.74], seconds=0.08, metrics={"cost/encoder_forwards": 3.0}, dependencies="abc"),
    )
    figure = pareto(found, look(found), "base")
    mark = look(found)["slow"]
    assert xs(figure, mark, 0) == [pytest.approx(4)]
    assert xs(figure, mark, 1) == [pytest.approx(2)]  # (3 + 1) x 2 encoders over (1 + 1) x 2
    assert "without the runs that they start from: slow" in words(figure)
    with pytest.raises(Missing, match="no finished run of nobody"):
        pareto(found, look(found), "nobody")


def samples_of(right: Mapping[str, str]) -> Any:
    """Run id -> string of 1 and 0 per sample."""

    def read(run_ids: Any) -> dict[str, Samples]:
        ids = np.array(["a", "b", "c", "d", "e"])
        scores = {i: np.array([int(c) for c in right[i]], dtype=np.float32) for i in run_ids if i in right}
        return {i: Samples(ids, ids, score) for i, score in scores.items()}

    return read


def heat(figure: Figure) -> list[str]:
    return [t.get_text() for t in figure.axes[0].texts]


def test_error_groups_by_hand() -> None:
    found = compared(
        line("unimodal (audio)", [0.6], "unimodal", modalities=("audio",)),
        line("unimodal (video)", [0.6], "unimodal", modalities=("video",)),
        line("mine", [0.6]),
    )
    read = samples_of({"unimodal (audio)/0": "11100", "unimodal (video)/0": "11010", "mine/0": "10110"})
    figure = error_groups(found, read)
    # both: a b -> 1 of 2; only audio: c -> 1 of 1; only video: d -> 1 of 1; none: e -> 0 of 1.
    assert heat(figure) == ["50.0", "100.0", "100.0", "0.0"]
    columns = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert columns == ["both\n40 %", "only\naudio\n20 %", "only\nvideo\n20 %", "none\n20 %"]


def test_error_groups_of_three_modalities_pool_what_several_get_right() -> None:
    three = ("audio", "text", "video")
    single = [line(f"unimodal ({m})", [0.6], "unimodal", modalities=(m,)) for m in three]
    found = compared(*single, line("mine", [0.6], modalities=three), modalities=three)
    right = {
        "unimodal (audio)/0": "11100",
        "unimodal (text)/0": "11000",
        "unimodal (video)/0": "10000",
        "mine/0": "01101",
    }
    figure = error_groups(found, samples_of(right))
    columns = [t.get_text().replace("\n", " ") for t in figure.axes[0].get_xticklabels()]
    assert columns == ["all 20 %", "several 20 %", "only audio 20 %", "none 40 %"], "empty groups have no column"
    assert heat(figure) == ["0.0", "100.0", "100.0", "50.0"]


def test_error_groups_match_samples_by_id_and_refuse_others() -> None:
    found = compared(
        line("unimodal (audio)", [0.6], "unimodal", modalities=("audio",)),
        line("unimodal (video)", [0.6], "unimodal", modalities=("video",)),
        line("mine", [0.6]),
    )
    read = samples_of({"unimodal (audio)/0": "11100", "unimodal (video)/0": "11010", "mine/0": "10110"})

    def renamed(ids: str) -> Any:
        def give(run_ids: Any) -> dict[str, Samples]:
            whole = read(run_ids)
            mine = whole["mine/0"]
            order = np.array(list(ids))
            return whole | {"mine/0": Samples(order, order, mine.score[::-1])}

        return give

    assert heat(error_groups(found, renamed("edcba"))) == ["50.0", "100.0", "100.0", "0.0"]
    with pytest.raises(Missing, match="different samples"):
        error_groups(found, renamed("edcbz"))


def test_error_groups_say_what_is_missing() -> None:
    found = small()
    with pytest.raises(Missing, match="no readable predictions"):
        error_groups(found, samples_of({}))
    with pytest.raises(Missing, match="unimodal run of every modality"):
        error_groups(compared(line("a", [0.5])), samples_of({}))
    with pytest.raises(Missing, match="one modality"):
        error_groups(compared(line("a", [0.5]), modalities=("audio",)), samples_of({}))
    with pytest.raises(Missing, match="regression"):
        error_groups(compared(line("a", [0.5], own={"test/mae": 0.5}, metric="mae")), samples_of({}))


def bars(figure: Figure) -> list[tuple[float, float]]:
    return [(round(p.get_x(), 6), round(p.get_width(), 6)) for p in figure.axes[0].patches]  # type: ignore[attr-defined]


def test_contributions_stack_gains_to_the_right_and_losses_to_the_left() -> None:
    three = ("audio", "text", "video")
    values = {"test/contribution/audio": 0.3, "test/contribution/text": -0.1, "test/contribution/video": 0.2}
    found = compared(line("a", [0.5], metrics=values, modalities=three), modalities=three)
    assert bars(contribution(found)) == [(0, 30), (0, -10), (30, 20)]


def test_contributions_to_an_error_are_turned() -> None:
    own = {"test/mae": 0.5, "test/contribution/audio": -0.25, "test/contribution/video": 0.125}
    figure = contribution(compared(line("a", [0.5], own=own, metric="mae")))
    assert bars(figure) == [(0, 0.25), (0, -0.125)]
    assert "mae less" in words(figure)
    with pytest.raises(Missing, match="no run has the contributions"):
        contribution(small())


def test_ranks_take_one_comparison_per_dataset_and_name_who_is_left_out() -> None:
    first = compared(line("a", [0.5]), line("b", [0.6]), line("c", [0.7]), dataset="one")
    second = compared(line("a", [0.5], metric="mae"), line("b", [0.6], metric="mae"), dataset="two")
    fewer = compared(line("a", [0.1]), line("b", [0.2]), dataset="two", modalities=("audio",))
    ranks = rank_datasets([first, second, fewer])
    assert ranks.by == "each protocol's test metric (accuracy, mae)"
    assert ranks.mean_ranks == {"a": 1.5, "b": 1.5}  # b leads the first; the lower error of a leads the second
    assert "not on every dataset: c" in ranks.reason
    figure = rank_diagram(ranks, look(first))
    assert "at least" in words(figure), "the reason stands on the figure"


def test_critical_difference_diagram() -> None:
    ranks = rank({name: {"good": 0.9, "fine": 0.8, "poor": 0.1, "bad": 0.0} for name in "abcdef"})
    figure = rank_diagram(ranks, marks(dict.fromkeys(ranks.mean_ranks, "method")))
    # q(.05, 4) / sqrt(2) = 2.569 (Demsar, table 5): 2.569 sqrt(4 x 5 / 36) = 1.91.
    assert "critical difference 1.91" in words(figure)
    thick = [a for a in figure.axes[0].lines if a.get_linewidth() > 2]
    ends = [tuple(np.round(np.asarray(a.get_xdata()), 2)) for a in thick]
    assert ends == [(0.96, 2.04), (1.96, 3.04), (2.96, 4.04)]


def test_a_line_far_from_the_others_does_not_squeeze_the_budget_figure() -> None:
    curves = pd.DataFrame(
        [{"method": m, "budget": n, "expected": v + 0.002 * n} for m, v in (("far", 0.61), ("a", 0.78), ("b", 0.77))
         for n in (1, 2, 3)]
    )  # fmt: skip
    figure = budget(curves, marks(dict.fromkeys(("far", "a", "b"), "method")), "accuracy")
    assert figure.axes[0].get_ylim()[0] > 70
    assert "beyond the axis: far (61.2 to 61.6)" in words(figure)


def test_intervals_of_folds_that_share_training_data_are_wider() -> None:
    sizes = {"data/train_samples": 80.0, "data/test_samples": 20.0}
    runs = [replace(run, fold=i) for i, run in enumerate(line("a", [0.70, 0.74, 0.72], metrics=sizes))]
    found = compared(runs, line("b", [0.6, 0.61, 0.62]))
    figure = methods(found, look(found))
    half = 4.302653 * 2 * math.sqrt(1 / 3 + 20 / 80)
    ends = [np.asarray(a.get_xdata()) for a in figure.axes[0].lines if len(np.asarray(a.get_xdata())) == 2]
    low, high = figure.axes[0].get_xlim()
    assert any(np.allclose(e, [max(low, 72 - half), min(high, 72 + half)], atol=1e-4) for e in ends)
    assert "Nadeau-Bengio" in words(figure)


def test_pareto_divides_by_the_line_that_the_table_divides_by() -> None:
    def own(label: str, seconds: float, settings: str) -> list[Any]:
        return line(label, [0.6, 0.7], seconds=seconds, overrides=settings)

    found = compared(
        own("base", 0.01, ""), own("base [e=9]", 0.02, "e=9"), own("slow [e=9]", 0.08, "e=9"), own("plain", 0.03, "")
    )
    figure = pareto(found, look(found), "base")
    assert xs(figure, look(found)["slow [e=9]"], 0) == [pytest.approx(4)]
    assert xs(figure, look(found)["plain"], 0)[0] == pytest.approx(3)
    steps = [[a for a in axes.lines if a.get_drawstyle() == "steps-post"] for axes in figure.axes[:2]]
    assert [len(found) for found in steps] == [0, 1], "passes alone decide the front"


def test_pareto_names_long_lines_below_as_its_legend_does() -> None:
    long = "mine [mine.first=0.1 mine.second=0.01 mine.third=1]"
    found = compared(line("base", [0.6, 0.7]), line(long, [0.6, 0.7], dependencies="abc"))
    said = words(pareto(found, look(found), "base"))
    assert said.count("mine.third") == 1
    assert "without the runs that they start from: mine [mine.first=0.1" in said


def test_error_groups_say_which_lines_have_fewer_runs() -> None:
    single = [line(f"unimodal ({m})", [0.6, 0.6], "unimodal", modalities=(m,)) for m in TWO]
    found = compared(*single, line("mine", [0.6, 0.6]), line("short", [0.6]))
    names = ("unimodal (audio)", "unimodal (video)", "mine", "short")
    figure = error_groups(found, samples_of({f"{name}/{seed}": "11010" for name in names for seed in (0, 1)}))
    assert "2 runs per line, but short 1" in words(figure)


def test_budget_curves_in_per_cent() -> None:
    curves = pd.DataFrame({"method": ["a"] * 3, "budget": [1, 2, 4], "expected": [0.5, 0.6, 0.65]})
    figure = budget(curves, marks({"a": "method"}), "accuracy")
    assert np.asarray(figure.axes[0].lines[0].get_ydata()).tolist() == pytest.approx([50, 60, 65])
    with pytest.raises(Missing, match="nothing has been tuned"):
        budget(curves.iloc[:0], marks({}), "accuracy")
