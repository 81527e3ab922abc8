"""Hours to train from measured times, on numbers worked out by hand."""

from dataclasses import replace
from typing import Any

import pytest

from mcr_bench.bench.planning.estimate import estimate, in_words
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.tests.support.records.run_rows import run_row


def runs(*methods: str, epochs: int = 10, seeds: int = 2) -> list[RunSpec]:
    return make_plan(
        Request(list(methods), ["synthetic"], seeds=list(range(seeds)), overrides={"epochs": [str(epochs)]})
    ).runs


def row(run: RunSpec, seconds: float | None, epochs: int = 3, **changes: Any) -> RunRow:
    tags = {name: run.tags()[name] for name in ("dataset", "config", "modalities", "role")}
    made = run_row(run.method, 0, seconds=seconds, tags=tags, params=run.params(), metrics={"epochs": epochs})
    return replace(made, **changes)


def test_nothing_measured_is_said() -> None:
    found = estimate(runs("joint"), [])
    assert (found.unknown, found.core_hours, found.hours) == (2, 0, 0)
    assert found.text.startswith("2 runs to train. No estimate yet: the record has no run on the same data.")
    assert estimate([], []).text == "Nothing to train."


def test_the_mean_of_the_same_settings_counts() -> None:
    mine = runs("joint", seeds=6)
    rows = [
        row(mine[0], 1000),
        row(mine[1], 2000),
        row(mine[2], 9e9, status="failed"),
        row(mine[3], None),
    ]
    found = estimate(mine, rows, jobs=2)
    assert (found.measured, found.scaled, found.unknown) == (6, 0, 0)
    assert found.core_hours == pytest.approx(6 * 1500 / 3600)
    assert found.hours == pytest.approx(1.25)
    assert found.text == "6 runs to train: about 75 minutes with 2 jobs (6 from runs with the same settings)."


def test_other_settings_scale_with_the_limit_of_epochs() -> None:
    rows = [row(runs("joint")[0], 100), row(runs("multi-loss")[0], 500)]
    found = estimate(runs("joint", epochs=30, seeds=1), rows)
    assert (found.scaled, found.core_hours) == (1, pytest.approx(300 / 3600))


def test_other_methods_scale_with_epochs_and_modalities() -> None:
    rows = [row(runs("joint")[0], 100), row(runs("multi-loss")[0], 300)]  # 10 and 30 per two modalities and epoch
    found = estimate(runs("unimodal", epochs=20, seeds=1), rows)
    assert (found.scaled, found.core_hours) == (2, pytest.approx(2 * 10 * 20 / 3600))


def test_what_runs_take_beside_their_training_is_added_once_for_each() -> None:
    mine = runs("joint", seeds=4)
    times = [(0.5, 2.5), (1.5, 5.5), (1.0, 40_000.0)]  # seconds trained, and from start to end: 2, 4 and 39,999 beside
    rows = [
        row(run, trained, started=1e9, ended=1e9 + whole) for run, (trained, whole) in zip(mine, times, strict=False)
    ]
    assert estimate(mine, rows).core_hours == pytest.approx(4 * (1 + 4) / 3600)
    longer = estimate(runs("joint", epochs=100, seeds=1), rows)
    assert longer.core_hours == pytest.approx((10 + 4) / 3600)
    backwards = row(mine[0], 7, started=1e9, ended=1e9 - 100)  # the clock was set back meanwhile
    assert estimate(mine, [backwards]).core_hours == pytest.approx(4 * 7 / 3600)


def test_what_trains_nothing_says_nothing_of_other_methods() -> None:
    *_, ensemble = runs("ensemble", seeds=1)
    assert estimate(runs("joint"), [row(ensemble, 1, epochs=0)]).unknown == 2


def test_another_data_set_says_nothing() -> None:
    mine = runs("joint")
    other = row(mine[0], 100, dataset="other", config="other")
    assert "No estimate for 2 more" not in estimate(mine, [other]).text
    assert estimate(mine, [other]).unknown == 2
    both = estimate([*mine, *runs("multi-loss", epochs=3)], [row(mine[0], 36)])
    assert (both.measured, both.scaled) == (2, 2)


@pytest.mark.parametrize(
    ("hours", "words"),
    [(0, "1 second"), (0.01, "36 seconds"), (0.2, "12 minutes"), (3.4, "3.4 hours"), (50.4, "2.1 days")],
)
def test_hours_in_words(hours: float, words: str) -> None:
    assert in_words(hours) == words
