"""Tuning as a search: equal budgets, draws that stay put, validation only, failures, going on, stages."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.presets import preset_of
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.publish.site.board import BUDGET
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.bench.tuning.budget import budget_curves
from mcr_bench.bench.tuning.request import FIRST_SEED
from mcr_bench.bench.tuning.result import Trial, Tuned, TuneResult
from mcr_bench.bench.tuning.search import outline, tune, valueless
from mcr_bench.bench.tuning.spaces import draws, spaces
from mcr_bench.methods.base import Method
from mcr_bench.tests.support.records.run_rows import run_row
from mcr_bench.tests.support.runs import pretended_tuning
from mcr_bench.tests.support.runs.pretended_tuning import METHODS, Pretend, rate, request

home, in_memory = pretended_tuning.home, pretended_tuning.in_memory  # fixtures


def by_name(result: TuneResult) -> dict[str, Tuned]:
    return {tuned.method: tuned for tuned in result.methods}


def settings_of(result: TuneResult) -> dict[str, list[dict[str, Any]]]:
    return {tuned.method: [dict(trial.settings) for trial in tuned.trials] for tuned in result.methods}


def test_every_method_has_the_same_budget_seeds_and_search() -> None:
    pretend = Pretend(rate)
    result = tune(request(seeds=2), execute=pretend)
    assert {(s.method, s.seed) for s in pretend.trained} == {(m, FIRST_SEED + i) for m in METHODS for i in (0, 1)}
    assert [sum(s.method == m for s in pretend.trained) for m in METHODS] == [8, 8]
    assert [len(tuned.trials) for tuned in result.methods] == [4, 4]
    assert [row["trials"] for row in outline(request(seeds=2))] == [4, 4]
    assert [row["runs"] for row in outline(request(seeds=2))] == [8, 8]


def test_trial_0_is_the_presets_own_settings_and_the_best_is_by_validation() -> None:
    result = tune(request(), execute=Pretend(rate))
    own = make_plan(Request(["joint"], ["synthetic"], seeds=[0])).runs[0].training["optimizer.lr"]
    for tuned in result.methods:
        assert tuned.trials[0] == Trial(0, {}, own)
        for trial in tuned.trials[1:]:
            assert trial.value == trial.settings[f"{tuned.method}.optimizer.lr"]
        assert tuned.best is not None
        assert tuned.best.value == max(trial.value for trial in tuned.trials if trial.value is not None)


def test_every_method_searches_training_and_its_own_spaces() -> None:
    common = ["optimizer.lr", "optimizer.weight_decay"]
    assert [k.removeprefix("joint.") for k in spaces(registry.method("joint"))] == common
    assert [k.removeprefix("mlb.") for k in spaces(registry.method("mlb"))] == [*common, "alpha", "beta"]
    assert spaces(registry.method("ensemble")) == {}
    assert list(spaces(registry.method("mlb"), {"optimizer.lr", "mlb.alpha"})) == [
        "mlb.optimizer.weight_decay",
        "mlb.beta",
    ]


def test_draws_stay_put_and_are_shared_where_settings_are() -> None:
    short, longer = (settings_of(tune(request(trials=n), execute=Pretend(rate))) for n in (3, 5))
    for method in METHODS:
        assert longer[method][:3] == short[method]
        assert len({tuple(drawn.items()) for drawn in longer[method]}) == 5
    for key in ("optimizer.lr", "optimizer.weight_decay"):
        assert [d[f"joint.{key}"] for d in longer["joint"][1:]] == [d[f"mlb.{key}"] for d in longer["mlb"][1:]]


def test_draws_fill_their_space_evenly_on_its_scale() -> None:
    cls = registry.method("mlb")
    found = draws(cls, spaces(cls), 400)
    for key, d in spaces(cls).items():
        assert d.space is not None
        scale = np.log if d.space.log else np.asarray
        low, high = scale(d.space.low), scale(d.space.high)
        share = (scale([drawn[key] for drawn in found]) - low) / (high - low)
        assert share.min() >= 0
        assert share.max() <= 1
        assert np.abs(np.sort(share) - np.linspace(0, 1, 400)).max() < 1.63 / 20  # Kolmogorov's bound at 1 %


def test_whole_numbers_are_drawn_as_such() -> None:
    @dataclasses.dataclass
    class Counting(Method):
        steps: int = setting(2, "steps", space=Space(1, 8))

    Counting.name = "counting"
    found = {drawn["counting.steps"] for drawn in draws(Counting, spaces(Counting), 60)}
    assert found == set(range(1, 9))


def test_test_values_do_not_matter(tmp_path: Path) -> None:
    found = [
        tune(request(), home=tmp_path / str(n), execute=Pretend(rate, test)).methods
        for n, test in ((0, 0.0), (1, 1.0), (2, float("nan")))
    ]
    assert found[0] == found[1] == found[2]


def test_an_interrupted_search_goes_on_and_a_longer_one_continues() -> None:
    stopped, rest, again, longer = Pretend(rate, most=5), Pretend(rate), Pretend(rate), Pretend(rate)
    with pytest.raises(KeyboardInterrupt):
        tune(request(), execute=stopped)
    tune(request(), execute=rest)
    assert [len(p.trained) for p in (stopped, rest)] == [5, 3]
    assert not {s.key for s in stopped.trained} & {s.key for s in rest.trained}
    tune(request(), execute=again)
    assert again.trained == []
    tune(request(*METHODS, "multi-loss", trials=5), execute=longer)
    assert [sum(s.method == m for s in longer.trained) for m in (*METHODS, "multi-loss")] == [1, 1, 5]


def test_a_diverged_trial_counts_as_worst_and_ends_nothing(home: Path) -> None:
    worst = max(d["joint.optimizer.lr"] for d in draws(registry.method("joint"), spaces(registry.method("joint")), 3))
    result = tune(request("joint"), execute=Pretend(lambda s: None if rate(s) == worst else rate(s)))
    (joint,) = result.methods
    assert [trial.value is None for trial in joint.trials] == [
        t.settings.get("joint.optimizer.lr") == worst for t in joint.trials
    ]
    assert joint.best is not None
    assert joint.best.settings.get("joint.optimizer.lr") != worst
    assert len(result.failed) == 1
    assert "1 of 4 trials failed" in result.rows()[0]["note"]
    assert np.isfinite(budget_curves(home)["expected"]).all()


def test_a_method_that_always_fails_keeps_the_presets_settings() -> None:
    result = tune(request(), execute=Pretend(lambda s: None if s.method == "mlb" else rate(s)))
    assert by_name(result)["mlb"].best is None
    values = preset_of(registry.dataset("synthetic"), result.preset).values
    assert any(key.startswith("joint.") for key in values)
    assert not any(key.startswith("mlb.") for key in values)
    plan = make_plan(Request(["joint", "mlb", "ogm"], ["synthetic"], seeds=[0], preset=result.preset))
    origins = {run.method: run.preset_origin for run in plan.runs}
    assert origins["joint"] == "tuned-here@4"
    assert all(origins[m].startswith(f"not tuned for {m}, as its search gave settings for ") for m in ("mlb", "ogm"))
    assert {m for m in origins if BUDGET.search(origins[m])} == {"joint"}  # what the leaderboard reads trials from


def test_where_nothing_finishes_no_preset_is_written(home: Path) -> None:
    tune(request(), execute=Pretend(rate))
    before = (home / "presets" / "synthetic.toml").read_text()
    with pytest.raises(UserError, match=r"no trial finished.*diverged"):
        tune(request(seeds=2), execute=Pretend(lambda _: None))
    assert (home / "presets" / "synthetic.toml").read_text() == before


def test_where_finished_trials_have_no_validation_value_the_reason_is_given() -> None:
    with pytest.raises(UserError, match=r"so no preset is written: selected_val/accuracy is missing: no reason is on"):
        tune(request("joint"), execute=Pretend(rate, metric="mae"))
    lacking = run_row("joint", 0, 0.5, tags={"missing": json.dumps({"of one class": ["selected_val/auroc"]})})
    assert valueless([lacking], "selected_val/auroc") == ["selected_val/auroc is missing: of one class"]


def test_what_starts_from_other_runs_is_searched_after_them_and_from_the_best(home: Path) -> None:
    pretend = Pretend(rate)
    result = tune(request("ensemble", "uni-pre-finetuned", trials=3), execute=pretend)
    found = by_name(result)
    assert list(found) == ["unimodal", "ensemble", "uni-pre-finetuned"]
    best = found["unimodal"].best
    assert best is not None
    for spec in pretend.trained:
        assert {run.training["optimizer.lr"] for run in spec.dependencies} <= {best.value}
    assert len(found["ensemble"].trials) == 1
    assert found["ensemble"].note == "nothing of its own to search; starts from unimodal, tuned first"
    assert len(found["uni-pre-finetuned"].trials) == 3
    kept = {path.stem for path in (home / "tuning" / "weights").glob("*.pt")}
    assert kept == {s.key for s in pretend.trained if s.method == "unimodal" and rate(s) == best.value}
    assert [row["stage"] for row in outline(request("ensemble", trials=3))] == [1, 2]
