"""Diagnostics of whole runs, recomputed by NumPy from predictions.parquet, and runs whose diagnostics fail."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.problem.oracle import oracle, sample_errors
from mcr_bench.bench.record.tags import Tags
from mcr_bench.bench.runs.events import EpochDone, Event, Job, RunDone
from mcr_bench.bench.task import Task
from mcr_bench.bench.training import loop
from mcr_bench.bench.training.after import diagnosis
from mcr_bench.bench.training.after.diagnosis import run_means

SMALL = {"epochs": ["3"], "batch_size": ["16"], "encoder.width": ["8"], "model.width": ["6"], "patience": ["0"]}
CASES = {
    "classes": ("joint", 3, False, {"model.fusion": ["gated"]}),
    "scores": ("joint", 2, True, {}),
    "own heads": ("multi-loss", 3, True, {}),
    "six": ("ogm", 6, False, {"optimizer.name": ["sgd"]}),
}


def data(path: Path, count: int, regression: bool) -> str:
    """An array file whose last modality is padded sequences."""
    rng = np.random.default_rng(3)
    y = np.arange(120) % 3
    arrays: dict[str, np.ndarray] = {}
    for i in range(count):
        arrays[f"x_m{i}"] = (rng.normal(size=(120, 4)) + (0.6 + 0.2 * i) * y[:, None]).astype("float32")
    lengths = rng.integers(1, 6, 120)
    arrays[f"x_m{count - 1}"] = (rng.normal(size=(120, 5, 3)) + y[:, None, None]).astype("float32")
    split = np.array(["train", "train", "val", "test"])[np.arange(120) % 4]
    target = (y + 0.3 * rng.normal(size=120)).astype("float64") if regression else y
    np.savez(path, y=target, split=split, **arrays, **{f"length_m{count - 1}": lengths})
    return str(path)


@dataclass
class Trained:
    """A run that has ended: its modalities, final metrics, missing diagnostics, curves, and its test predictions."""

    names: list[str]
    metrics: dict[str, float]
    missing: dict[str, str]
    epochs: list[dict[str, float]]
    test: pd.DataFrame

    def column(self, name: str) -> np.ndarray:
        return np.stack(list(self.test[name])).astype("float64")

    @property
    def label(self) -> np.ndarray:
        return self.test["label"].to_numpy()


def trained(folder: Path, method: str, count: int, regression: bool, more: dict[str, list[str]]) -> Trained:
    file = data(folder / "small.npz", count, regression)
    (spec,) = make_plan(Request([method], [file], seeds=[0], overrides=SMALL | more)).runs
    events: list[Event] = []
    loop.fit_run(Job(spec, "cpu", folder / "work", {}, folder / "weights.pt"), events.append)
    end = events[-1]
    assert isinstance(end, RunDone)
    table = pd.read_parquet(folder / "work" / "predictions.parquet")
    missing = {name: reason for reason, names in Tags(end.tags).missing().items() for name in names}
    epochs = [event.metrics for event in events if isinstance(event, EpochDone)]
    return Trained([f"m{i}" for i in range(count)], end.metrics, missing, epochs, table[table["part"] == "test"])


@pytest.fixture(scope="module", params=CASES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    method, count, regression, more = CASES[request.param]
    return trained(tmp_path_factory.mktemp("run"), method, count, regression, more)


def accuracy(z: np.ndarray, y: np.ndarray) -> float:
    return float((z.argmax(1) == y).mean())


def error(z: np.ndarray, y: np.ndarray) -> float:
    return float(np.abs(z[:, 0] - y).mean())


def correlation(z: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(z[:, 0], y)[0, 1]) if np.ptp(z[:, 0]) > 0 else 0.0


def scores(one: Trained) -> dict[str, Callable[[np.ndarray, np.ndarray], float]]:
    return {"mae": error, "pearson": correlation} if one.label.dtype.kind == "f" else {"accuracy": accuracy}


def test_every_stored_subset_is_scored(run: Trained) -> None:
    stored = [c.removeprefix("subset/") for c in run.test if c.startswith("subset/") and c != "subset/"]
    assert len(stored) == {2: 2, 3: 6, 6: 30}[len(run.names)]
    expected = {
        f"test/subset/{subset.replace('+', '.')}/{name}": score(run.column(f"subset/{subset}"), run.label)
        for subset in stored
        for name, score in scores(run).items()
    }
    found = {name: value for name, value in run.metrics.items() if name.startswith("test/subset/")}
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_oracle_takes_the_best_prediction_of_each_sample(run: Trained) -> None:
    columns = ["logits", *(f"modality/{m}" for m in run.names)]
    if "mae" in scores(run):
        expected = {"test/oracle/mae": np.min([np.abs(run.column(c)[:, 0] - run.label) for c in columns], 0).mean()}
        assert expected["test/oracle/mae"] < run.metrics["test/mae"]
    else:
        expected = {"test/oracle/accuracy": np.any([run.column(c).argmax(1) == run.label for c in columns], 0).mean()}
        assert expected["test/oracle/accuracy"] > run.metrics["test/accuracy"]
    found = {name: value for name, value in run.metrics.items() if name.startswith("test/oracle/")}
    assert found == pytest.approx(expected, abs=1e-6)


def test_contributions_are_mean_gains_over_all_orders_of_arrival(run: Trained) -> None:
    for name, score in scores(run).items():
        kind = "contribution" if name != "pearson" else "contribution_pearson"
        if len(run.names) > 4:  # from the stored subsets, whose values still share what all add to none
            total = sum(run.metrics[f"test/contribution/{m}"] for m in run.names)
            none = score(run.column("subset/"), run.label)
            assert total == pytest.approx(score(run.column("logits"), run.label) - none, abs=1e-6)
            continue
        worth = {frozenset(run.names): score(run.column("logits"), run.label)}
        for size in range(len(run.names)):
            for subset in combinations(run.names, size):
                worth[frozenset(subset)] = score(run.column(f"subset/{'+'.join(subset)}"), run.label)
        for m in run.names:
            orders = list(permutations(run.names))
            gains = [worth[frozenset(o[: o.index(m) + 1])] - worth[frozenset(o[: o.index(m)])] for o in orders]
            assert run.metrics[f"test/{kind}/{m}"] == pytest.approx(np.mean(gains), abs=1e-6)


def test_all_test_samples_are_disturbed_in_a_small_part(run: Trained) -> None:
    for name in scores(run):
        assert run.metrics[f"test/intact/{name}"] == pytest.approx(run.metrics[f"test/{name}"], abs=1e-6)
        for m in run.names:
            assert {f"test/noise/{m}/{level}/{name}" for level in ("0.5", "1", "2")} <= set(run.metrics)
            permuted = run.metrics[f"test/permuted/{m}/{name}"]
            if name != "mae":
                intact = run.metrics[f"test/intact/{name}"]
                assert run.metrics[f"test/perceptual/{m}/{name}"] == pytest.approx((intact - permuted) / intact)
    assert run.missing == {}


def test_curves_of_the_steps_have_a_mean_over_the_run(run: Trained) -> None:
    assert len(run.epochs) == 3
    for m in run.names:
        for kind in ("update_ratio", "update_per_gradient", "gradient_norm"):
            values = [epoch[f"train/{kind}/{m}"] for epoch in run.epochs]
            assert run.metrics[f"mean_train/{kind}/{m}"] == pytest.approx(np.mean(values))
            assert min(values) > 0


def test_a_mean_over_epochs_is_of_those_that_have_the_curve() -> None:
    epochs = [{"train/coefficient/a": 1.0, "train/loss/fused": 9.0}, {}, {"train/coefficient/a": 2.0, "val/loss": 1.0}]
    assert run_means(epochs) == {"mean_train/coefficient/a": 1.5}


def test_diagnostics_that_fail_leave_the_run_and_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise MemoryError("no room")

    for name in ("disturbed", "oracle"):
        monkeypatch.setattr(diagnosis, name, broken)
    one = trained(tmp_path, "joint", 2, False, {})
    assert "test/accuracy" in one.metrics
    assert "test/subset/m0/accuracy" in one.metrics
    assert {"test/noise", "test/perceptual", "test/permuted", "test/oracle"} == set(one.missing)
    assert all("no room" in reason for reason in one.missing.values())


def test_of_several_labels_all_must_be_right_and_of_several_scores_the_errors_are_averaged() -> None:
    rng = np.random.default_rng(0)
    z = [torch.from_numpy(rng.normal(size=(40, 3))) for _ in range(3)]
    y = torch.from_numpy(rng.integers(0, 2, (40, 3)).astype("float64"))
    wrong = np.stack([((one > 0).long().numpy() != y.numpy()).any(1) for one in z])
    errors = np.stack([sample_errors(one, y, Task(None, labels=3)).numpy() for one in z])
    np.testing.assert_array_equal(errors, wrong)
    gaps = np.stack([np.abs(one.numpy() - y.numpy()).mean(1) for one in z])
    errors = np.stack([sample_errors(one, y, Task(None, scores=3)).numpy() for one in z])
    np.testing.assert_allclose(errors, gaps)


def test_the_oracle_takes_no_prediction_from_a_modality_that_a_sample_lacks() -> None:
    y = torch.tensor([0, 1, 1, 0])
    fused, other = torch.tensor([[1.0, 0.0]] * 4), torch.tensor([[0.0, 1.0]] * 4)  # right: 2 of 4, and the other 2
    assert oracle(fused, [other], y, Task(2)) == {"accuracy": 1.0}
    has = torch.tensor([True, True, False, False])
    assert oracle(fused, [other], y, Task(2), [has]) == {"accuracy": 0.75}
    scores, near = torch.tensor([[3.0], [3.0]]), torch.tensor([[1.0], [1.0]])
    assert oracle(scores, [near], torch.zeros(2), Task(None), [torch.tensor([False, True])]) == {"mae": 2.0}
    with pytest.raises(ValueError, match="nan"):
        oracle(torch.full((4, 2), float("nan")), [other], y, Task(2))
