"""What tuning leaves behind: the preset that comes of it, curves over budgets, files of searches, its own record."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.presets import preset_of
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.executors import local
from mcr_bench.bench.figures.catalog import Sources, all_figures
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.report.html.across import budgets_markup
from mcr_bench.bench.runs.events import Outcome
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.tuning import search
from mcr_bench.bench.tuning.budget import budget_curves, expected_best
from mcr_bench.bench.tuning.request import FIRST_SEED
from mcr_bench.bench.tuning.search import tune, tuning_record
from mcr_bench.tests.support.runs import pretended_tuning
from mcr_bench.tests.support.runs.pretended_tuning import METHODS, Pretend, rate, request

home, in_memory = pretended_tuning.home, pretended_tuning.in_memory  # fixtures


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record of trials as it is; elsewhere it is in memory, which is faster."""
    monkeypatch.setattr(search, "tuning_record", tuning_record)


def test_a_lower_metric_can_be_the_better_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {f"x_{m}": rng.normal(size=(30, 4)).astype("float32") for m in "ab"}
    np.savez(tmp_path / "scores.npz", y=rng.normal(size=30), split=np.repeat(["train", "val", "test"], 10), **arrays)
    asked = dataclasses.replace(request("joint"), dataset=str(tmp_path / "scores.npz"))
    result = tune(asked, execute=Pretend(rate, metric="mae"))
    assert result.search.metric == "mae"
    best = result.methods[0].best
    assert best is not None
    assert best.value == min(trial.value for trial in result.methods[0].trials if trial.value is not None)
    cls = registry.dataset(asked.dataset)
    assert preset_of(cls, result.preset, asked.dataset).origin == "tuned-here@4"
    with pytest.raises(UserError, match="unknown preset"):
        preset_of(cls, result.preset, "another.npz")


def test_the_preset_gives_the_runs_that_were_best() -> None:
    pretend = Pretend(rate)
    result = tune(request(overrides={"epochs": ["3"]}), execute=pretend)
    assert result.preset == "tuned@4:epochs=3"
    plan = make_plan(Request(METHODS, ["synthetic"], seeds=[FIRST_SEED], preset=result.preset))
    assert {run.preset_origin for run in plan.runs} == {"tuned-here@4"}
    assert {run.training["epochs"] for run in plan.runs} == {3}
    best = {m: max((s for s in pretend.trained if s.method == m), key=rate).key for m in METHODS}
    assert {run.method: run.key for run in plan.runs} == best


def test_searches_of_one_dataset_do_not_overwrite_each_other() -> None:
    names = [
        tune(asked, execute=Pretend(rate)).preset
        for asked in (
            request("joint"),
            request(
                "joint", modalities=("m1", "m2"), overrides={"dataset.modalities": ["3"], "dataset.unique": ["0.4/0/0"]}
            ),
            request("joint", preset="imbalanced"),
            request("joint", trials=3),
            request("joint", preset="balanced", protocol="paper", name="mine"),
        )
    ]
    given = "dataset.modalities=3:dataset.unique=0.4/0/0"
    assert names == ["tuned@4", f"tuned@4:m1+m2:{given}", "tuned@4:imbalanced", "tuned@3", "mine"]
    for name in names:
        assert preset_of(registry.dataset("synthetic"), name).origin.startswith("tuned-here@")


def test_methods_tuned_one_after_the_other_share_the_preset_until_something_else_differs() -> None:
    tune(request("joint"), execute=Pretend(rate))
    second = tune(request("mlb"), execute=Pretend(rate))
    assert (second.kept, second.lost) == (["joint"], [])
    values = preset_of(registry.dataset("synthetic"), "tuned@4").values
    assert {key.partition(".")[0] for key in values} >= set(METHODS)
    third = tune(request("mlb", seeds=2), execute=Pretend(rate))
    assert (third.kept, third.lost) == ([], ["joint"])
    assert not any(key.startswith("joint.") for key in preset_of(registry.dataset("synthetic"), "tuned@4").values)


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"trials": 1}, "--trials 1"),
        ({"seeds": 0}, "--seeds 0"),
        ({"overrides": {"epochs": ["1", "2"]}}, "--set epochs=1,2"),
        ({"overrides": {"epoch": ["1"]}}, "epochs"),
        ({"overrides": {"mcr.tau": ["1"]}}, "mcr"),
        ({"name": "imbalanced"}, "not tuned here"),
        ({"preset": "tuned@9"}, "unknown preset"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_trained(others: dict[str, Any], words: str) -> None:
    pretend = Pretend(rate)
    with pytest.raises(UserError, match=words):
        tune(dataclasses.replace(request(), **others), execute=pretend)
    assert pretend.trained == []


def test_budget_curves_are_those_of_the_random_trials(home: Path) -> None:
    assert budget_curves(home).empty
    result = tune(request(), execute=Pretend(rate))
    curves = budget_curves(home)
    for tuned in result.methods:
        mine = curves[curves["method"] == tuned.method]
        assert list(mine["budget"]) == [1, 2, 3]
        drawn = [trial.value for trial in tuned.trials[1:] if trial.value is not None]
        np.testing.assert_allclose(mine["expected"], expected_best(drawn, True))
        assert set(mine["untuned"]) == {tuned.trials[0].value}
    assert set(curves["modalities"]) == {"m1+m2"}
    assert set(curves["preset"]) == {"tuned@4"}


def test_searches_under_two_presets_give_two_curves(home: Path) -> None:
    """The same draws, ten points better under the other preset: mixed, no line would be 1 2 3 trials long."""

    def value(spec: RunSpec) -> float:
        return rate(spec) + 10 * (spec.preset == "imbalanced")

    results = [tune(request("joint", preset=preset), execute=Pretend(value)) for preset in ("balanced", "imbalanced")]
    names = [result.preset for result in results]
    curves = budget_curves(home)
    drawn = {name: d for name in names for d in all_figures([], Sources("joint", budgets=curves), ["budget"])
             if d.about.endswith(f"preset {name}")}  # fmt: skip
    assert list(drawn) == names
    assert len({d.stem for d in drawn.values()}) == 2
    page = budgets_markup(curves)
    for result in results:
        (tuned,) = result.methods
        expected = expected_best([float(t.value or 0) for t in tuned.trials[1:]], True)
        figure = drawn[result.preset].result
        assert isinstance(figure, Figure)
        (line,) = figure.axes[0].lines
        np.testing.assert_allclose(np.asarray(line.get_xdata()), [1, 2, 3])
        np.testing.assert_allclose(np.asarray(line.get_ydata()), 100 * expected)
        assert page.count(f"preset {result.preset}</h3>") == 1


@pytest.mark.parametrize("content", ["{", "[]", '{"tuned@4": {}}', '{"tuned@4": {"methods": 3}}'])
def test_a_damaged_file_of_searches_is_named_and_made_again(home: Path, content: str) -> None:
    made = tune(request("joint"), execute=Pretend(rate))
    path = next((home / "tuning/searches").glob("*.json"))
    kept = path.read_bytes()
    path.write_text(content)
    for read in (lambda: budget_curves(home), lambda: tune(request("joint"), execute=Pretend(rate))):
        with pytest.raises(UserError, match=r"searches/.*\.json' cannot be read .*Delete the file"):
            read()
    path.unlink()
    assert tune(request("joint"), execute=Pretend(rate)).methods == made.methods
    assert path.read_bytes() == kept


@pytest.mark.usefixtures("real")
def test_trials_train_for_real_apart_from_the_record_of_comparisons(home: Path) -> None:
    tiny = {"epochs": ["1"], "dataset.train": ["40"], "dataset.val": ["20"], "dataset.test": ["20"]}
    asked = request("joint", "ensemble", trials=3, overrides=tiny, name="small")

    def execute(specs: Sequence[RunSpec], record: Record, **others: Any) -> Outcome:
        return local.execute(specs, record, jobs=1, device="cpu", **others)

    result = tune(asked, execute=execute)
    assert result.failed == []
    rows = tuning_record(home).rows()
    counts = {m: sum(row.method == m for row in rows) for m in ("joint", "unimodal", "ensemble")}
    assert counts == {"joint": 3, "unimodal": 6, "ensemble": 1}
    assert not (home / "mlflow.db").exists()
    again = Pretend(rate)
    assert tune(asked, execute=again).methods == result.methods
    assert again.trained == []
    json.dumps(result.rows())
