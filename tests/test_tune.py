"""Tuning: equal budgets, draws that stay put, validation only, going on, and the preset that comes of it."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from mcr_bench.bench import registry
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.executors import local
from mcr_bench.bench.executors.events import Failure, Outcome
from mcr_bench.bench.figures.catalog import Sources, all_figures
from mcr_bench.bench.plan import Request, make_plan
from mcr_bench.bench.presets import preset_of
from mcr_bench.bench.report.html.across import budgets_markup
from mcr_bench.bench.runs import RunSpec
from mcr_bench.bench.settings import Space, setting
from mcr_bench.bench.tracking import Record
from mcr_bench.bench.tuning import search
from mcr_bench.bench.tuning.budget import budget_curves, expected_best
from mcr_bench.bench.tuning.request import FIRST_SEED, TuneRequest
from mcr_bench.bench.tuning.result import Trial, Tuned, TuneResult
from mcr_bench.bench.tuning.search import outline, tune, tuning_record
from mcr_bench.bench.tuning.spaces import draws, spaces
from mcr_bench.methods.base import Method

METHODS = ["joint", "mlb"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of its own for record and presets, also where a tracking server is named."""
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    return tmp_path / "home"


class Memory:
    """A record without a database: what Pretend and a search need of one."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.rows: dict[str, dict[str, Any]] = {}

    def finished(self, keys: Iterable[str], dataset: str) -> dict[str, dict[str, Any]]:
        return {key: self.rows[key] for key in keys if key in self.rows}


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record of trials as it is; elsewhere it is in memory, which is faster."""
    monkeypatch.setattr(search, "tuning_record", tuning_record)


@pytest.fixture(autouse=True)
def _in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records: dict[Path | None, Memory] = {}
    monkeypatch.setattr(
        search, "tuning_record", lambda home: records.setdefault(home, Memory((home or tmp_path) / "tuning"))
    )


class Pretend:
    """Executes without training: `value(spec)` is what validation gives, None a failure; `test` is what test gives."""

    def __init__(
        self, value: Callable[[RunSpec], float | None], test: float = 0.5, metric: str = "accuracy", most: int = 10**6
    ) -> None:
        self.value, self.test, self.metric, self.most = value, test, metric, most
        self.trained: list[RunSpec] = []

    def __call__(
        self, specs: Sequence[RunSpec], record: Any, *, done: int, keep_weights: Callable[[RunSpec], bool]
    ) -> Outcome:
        outcome = Outcome()
        for spec in specs:
            if len(self.trained) >= self.most:
                raise KeyboardInterrupt
            self.trained.append(spec)
            value = self.value(spec)
            if value is None:
                outcome.failed.append(Failure(spec, "diverged", Path("log.txt")))
            else:
                metrics = {f"selected_val/{self.metric}": value, f"test/{self.metric}": self.test}
                record.rows[spec.key] = {"metrics": metrics, "value": self.test}
                if keep_weights(spec):
                    local.weights_file(record.home, spec).parent.mkdir(parents=True, exist_ok=True)
                    local.weights_file(record.home, spec).touch()
        return outcome


def rate(spec: RunSpec) -> float:
    """A validation value that grows with the learning rate."""
    return float(spec.training["optimizer.lr"])


def request(*methods: str, trials: int = 4, **others: Any) -> TuneRequest:
    return TuneRequest(list(methods) or METHODS, "synthetic", trials, **others)


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


def test_where_nothing_finishes_no_preset_is_written(home: Path) -> None:
    tune(request(), execute=Pretend(rate))
    before = (home / "presets" / "synthetic.toml").read_text()
    with pytest.raises(UserError, match=r"no trial finished.*diverged"):
        tune(request(seeds=2), execute=Pretend(lambda _: None))
    assert (home / "presets" / "synthetic.toml").read_text() == before


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
    assert second.kept == ["joint"]
    values = preset_of(registry.dataset("synthetic"), "tuned@4").values
    assert {key.partition(".")[0] for key in values} >= set(METHODS)
    third = tune(request("mlb", seeds=2), execute=Pretend(rate))
    assert third.kept == []
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
        with pytest.raises(UserError, match=r"searches/.*\.json' cannot be read .*Remove the file"):
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
    counts = {m: sum(row["method"] == m for row in rows) for m in ("joint", "unimodal", "ensemble")}
    assert counts == {"joint": 3, "unimodal": 6, "ensemble": 1}
    assert not (home / "mlflow.db").exists()
    again = Pretend(rate)
    assert tune(asked, execute=again).methods == result.methods
    assert again.trained == []
    json.dumps(result.rows())
