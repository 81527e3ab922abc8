"""Claims of odd results: losses, equal runs, runs that diverged, and numbers that are too large to be results."""

import math
from statistics import fmean

import pytest

from mcr_bench.bench.analysis.claims import claims, leading
from mcr_bench.bench.analysis.comparisons import comparisons
from mcr_bench.bench.analysis.ranking import rank_datasets
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.report.claim_tables import claim_tables, power_lines
from mcr_bench.tests.support.records.claimed_runs import BASE, compared, noisy, run


def logged(name: str, values: dict[str, list[float | None]], **changes: object) -> list[RunRow]:
    """Runs with one accuracy whose further test metrics are these; None for a run without it."""
    return [
        run(method, seed, 0.5, metrics={} if value is None else {f"test/{name}": value}, **changes)
        for method, every in values.items()
        for seed, value in enumerate(every)
    ]


@pytest.mark.parametrize("name", ["loss", "total_loss", "mae", "ece"])
def test_less_is_better_of_every_loss(name: str) -> None:
    low, high = [1 + v for v in BASE], [2 + v for v in noisy(0, 5)]
    found = comparisons(logged(name, {"ensemble": low, "high": high}), "joint")
    made = claims(found[0], "ensemble", name)
    assert (made.better, made.worse, leading(made)[0]) == (set(), {"high"}, {"ensemble"})
    assert made.superiority(made.against[0]) == 0
    assert rank_datasets(found, name).mean_ranks == {"ensemble": 1, "high": 2}
    assert f"{name}: lower is better" in claim_tables(made)[0].notes


def test_equal_differences_have_no_power() -> None:
    made = claims(compared({"ensemble": [0.5] * 8, "same": [0.5] * 8, "shifted": [0.75] * 8}), "ensemble")
    assert all(math.isnan(one.detectable) for one in made.against)
    assert not any("80 % power" in line for line in power_lines(made))
    assert [row[-1] for row in claim_tables(made)[0].rows] == [None, None, None]


def test_runs_are_counted_by_the_metric_that_is_compared() -> None:
    rows = logged("loss", {"ensemble": [*BASE], "half": [1.0, 2.0, 3.0, None, math.inf, math.nan]})
    made = claims(comparisons(rows, "joint")[0], "ensemble", "loss")
    (half,) = made.against
    assert (half.paired.n, half.mean) == (3, 2.0)
    assert any("half (3 pairs; 3 runs, 10 of ensemble)" in note for note in made.notes)


def test_what_diverged_is_named_beside_the_tests() -> None:
    values = {"ensemble": BASE, "mixed": [*BASE[:7], 1e308, math.inf, math.nan], "lost": [1.7976931348623157e308] * 3}
    rows = [run(m, s, v, metric="mae") for m, every in values.items() for s, v in enumerate(every)]
    rows.append(run("ensemble", 10, math.nan, metric="mae", status="failed"))
    made = claims(comparisons(rows, "joint")[0], "ensemble")
    assert [(one.label, one.paired.n) for one in made.against] == [("mixed", 7)]
    assert made.baseline_mean == pytest.approx(fmean(BASE))
    why = "as they failed, are not finished or have no finite test mae"
    told = f"in no test, {why}: ensemble (1 run), lost (3 runs), mixed (3 runs)"
    assert told in made.notes


def test_large_numbers_have_an_exponent() -> None:
    rows = [run(m, s, v + s, metric="mae") for m, v in (("ensemble", 1e30), ("good", 5.0)) for s in range(6)]
    made = claims(comparisons(rows, "joint")[0], "ensemble")
    primary, _, pairs = claim_tables(made)
    assert [row[1] for row in primary.text()] == ["-", "-1.0000e+30"]
    assert pairs.text()[0][2] == "+1.0000e+30*"
