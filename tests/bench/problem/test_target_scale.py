"""Scores in another unit: the same training, and results in the user's unit."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.presets import presets_of
from mcr_bench.bench.catalog.resolve import resolve_dataset
from mcr_bench.bench.record.files.scores import scores_of
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.trials.trials import Trials
from mcr_bench.bench.training.checkpoints import write_checkpoint
from mcr_bench.bench.training.evaluation import evaluate
from mcr_bench.bench.training.loop import run_epoch, start
from mcr_bench.tests.support.records.scored_files import SPLIT, job_of, outcome, save, scores, specs, trained

METHODS = [
    n
    for n, cls in ((n, registry.method(n)) for n in registry.method_names())
    if not Trials(cls).refusal(cls.needs.at_least, Task(None))
]
UNITS = [(-2.0, 0.0), (0.01, 1000.0), (150.0, 7.0)]
IN_EVERY_UNIT = ("joint", "agm", "uni-pre-frozen")  # the others take one unit each, in turn
NOT_COMPARED = ("seconds", "memory", "target_")  # by a clock, or about the unit itself


@pytest.mark.parametrize("name", METHODS)
def test_results_do_not_depend_on_the_unit_of_the_scores(name: str, tmp_path: Path) -> None:
    y = scores()
    plain = trained(save(tmp_path / "plain.npz", y), name, tmp_path)
    for a, b in UNITS if name in IN_EVERY_UNIT else [UNITS[METHODS.index(name) % len(UNITS)]]:
        other = trained(save(tmp_path / "other.npz", a * y + b), name, tmp_path)
        assert other.keys() == plain.keys()
        for label, run in plain.items():
            same_up_to_unit(run, other[label], a, b)


def same_up_to_unit(run: dict[str, Any], other: dict[str, Any], a: float, b: float) -> None:
    """The curves, selection, errors, correlations and predictions of `run`, whose scores y are a y + b in `other`.

    Accuracies are about the sign of a score, which b moves.
    """
    assert run["final"]["best_epoch"] == other["final"]["best_epoch"]
    for mine, theirs in [*zip(run["epochs"], other["epochs"], strict=True), (run["final"], other["final"])]:
        assert mine.keys() == theirs.keys()
        for key, value in mine.items():
            result = theirs[key]
            if "mae" in key or "contribution/" in key:
                assert result / abs(a) == pytest.approx(value, abs=1e-4), key
            elif not any(word in key for word in NOT_COMPARED) and (b == 0 or "binary" not in key):
                assert result == pytest.approx(value, rel=1e-4, abs=1e-4), key
    for column in run["table"].columns.drop(["part", "id", "group"]):
        mine, theirs = (np.stack(t[column]).astype(float) for t in (run["table"], other["table"]))
        np.testing.assert_allclose((theirs - b) / a, mine, atol=1e-4)


@pytest.mark.parametrize("name", ["multi-loss", "agm", "mcr"])
def test_a_killed_regression_resumes_to_a_bit_equal_end(name: str, tmp_path: Path) -> None:
    (spec,) = specs(save(tmp_path / "small.npz", 150 * scores() + 1000), name)
    job = job_of(spec, tmp_path)
    calm = outcome(job)
    run = start(job)
    for _ in range(2):
        run_epoch(run)
    write_checkpoint(job.folder, run.fit, run.method, run.probes, vars(run.progress))
    again = outcome(job)
    assert again["epochs"] == calm["epochs"]
    assert again["table"].equals(calm["table"])


def test_a_large_offset_costs_no_precision(tmp_path: Path) -> None:
    """Mean 1e6 and deviation 1: float32 has steps of .06 there; labels are kept as they are in the file."""
    y = scores() + 1e6
    data = save(tmp_path / "far.npz", y)
    (spec,) = specs(data, "multi-loss")
    job = job_of(spec, tmp_path)
    result = outcome(job)
    test = result["table"][result["table"].part == "test"]
    assert test["label"].tolist() == y[SPLIT == "test"].tolist()
    predicted = np.stack(test["logits"])[:, 0]
    mae = np.abs(predicted - y[SPLIT == "test"]).mean()
    assert result["final"]["test/mae"] == pytest.approx(mae, rel=1e-9)
    assert len(set(np.diff(predicted) % 0.0625)) > 3, "predictions stand on the grid of float32"
    table = pq.read_table(job.predictions).filter(pq.read_table(job.predictions)["part"].to_numpy() == "test")
    assert scores_of(table["label"], table["logits"]).mean() == pytest.approx(mae, rel=1e-5)


def test_what_is_seen_where(tmp_path: Path) -> None:
    y = 150 * scores() + 1000
    (spec,) = specs(save(tmp_path / "small.npz", y), "joint")
    run = start(job_of(spec, tmp_path))
    fit, train = run.fit, y[SPLIT == "train"]
    batch = fit.train.training_batch(torch.arange(40))
    sign = 1 if train[0] > train.mean() else -1
    assert batch.target.dtype == torch.float32
    assert batch.target.numpy() == pytest.approx(sign * (train - train.mean()) / train.std(), abs=1e-6)
    assert batch.labels.tolist() == train.tolist()
    assert fit.train.batch(torch.tensor([3, 1])).labels.tolist() == train[[3, 1]].tolist()
    fit.model.eval()
    outputs = fit.model(batch.inputs).logits
    result = evaluate(run.method, fit.model, fit.train, run.probes, 7)
    assert result.target.tolist() == train.tolist()
    in_units = train.mean() + sign * train.std() * outputs.detach().double().numpy()
    assert result.logits.numpy() == pytest.approx(in_units, rel=1e-5)
    assert result.metrics["mae"] == pytest.approx(np.abs(in_units[:, 0] - train).mean(), rel=1e-5)
    assert result.metrics["loss"] == pytest.approx(result.metrics["mae"] / train.std(), rel=1e-5)
    assert result.metrics["pearson"] == pytest.approx(np.corrcoef(in_units[:, 0], train)[0, 1], abs=1e-4)


def test_none_learns_the_scores_as_they_are(tmp_path: Path) -> None:
    y = 150 * scores() + 1000
    (spec,) = specs(save(tmp_path / "small.npz", y), "joint", dataset__target_scale="none")
    run = start(job_of(spec, tmp_path))
    assert run.fit.train.target.tolist() == y[SPLIT == "train"].astype("float32").tolist()
    result = outcome(job_of(spec, tmp_path))
    assert result["final"]["test/loss"] == pytest.approx(result["final"]["test/mae"], rel=1e-6)
    assert not [key for key in result["final"] if "target_" in key]


@pytest.mark.parametrize("name", ["joint", "mlb", "agm"])
def test_standardised_scores_are_learned_as_they_are(name: str, tmp_path: Path) -> None:
    """With a first score above the mean `standard` and `none` are one problem."""
    y = scores()
    train = y[SPLIT == "train"]
    y = (y - train.mean()) / train.std() * np.sign(train[0] - train.mean())
    data = save(tmp_path / "small.npz", y)
    (one,), (other,) = (trained(data, name, tmp_path, dataset__target_scale=s).values() for s in ("standard", "none"))
    for key in ("test/mae", "selected_val/mae", "best_epoch", "test/binary_accuracy"):
        assert one["final"][key] == pytest.approx(other["final"][key], abs=1e-4)


def test_the_scale_is_that_of_the_training_part_only(tmp_path: Path) -> None:
    y = scores()
    changed = np.where(SPLIT == "train", y, 1000 - 40 * y)
    (one,) = trained(save(tmp_path / "one.npz", y), "joint", tmp_path).values()
    (other,) = trained(save(tmp_path / "two.npz", changed), "joint", tmp_path).values()
    for key in ("data/target_mean", "data/target_size"):
        assert one["final"][key] == other["final"][key]
    assert [e["train/loss/fused"] for e in one["epochs"]] == [e["train/loss/fused"] for e in other["epochs"]]


def test_each_fold_has_a_scale_of_its_own(tmp_path: Path) -> None:
    group = np.arange(64) % 4
    data = save(tmp_path / "groups.npz", scores() + 10 * group, group=group)
    result = {}
    for seed in range(4):
        (spec,) = specs(data, "joint", "groups", seed, dataset__allow_group_overlap="true")
        run = start(job_of(spec, tmp_path))
        result[spec.fold] = run.fit.task.unit
        train = run.fit.train
        assert float(train.labels.mean()) == pytest.approx(result[spec.fold].mean)
        assert float(train.target.mean()) == pytest.approx(0, abs=1e-6)
        assert float(train.target.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert len({unit.mean for unit in result.values()}) == 4


def test_the_dial_is_in_the_key_of_scores_and_not_of_classes(tmp_path: Path) -> None:
    regression = save(tmp_path / "scores.npz", scores())
    classes = save(tmp_path / "classes.npz", np.arange(64) % 3)
    for data, count in ((regression, 2), (classes, 1)):
        keys = {specs(data, "joint", dataset__target_scale=scale)[0].key for scale in ("standard", "none")}
        assert len(keys) == count


def test_paper_presets_learn_raw_scores_and_array_files_standardised_ones() -> None:
    seen = 0
    for name in registry.dataset_names():
        cls = registry.dataset(name)
        for preset in presets_of(cls).values():
            scale = resolve_dataset(preset.values, cls).get("target_scale")
            if preset.name.startswith("paper") and scale is not None:
                assert preset.values["dataset.target_scale"] == scale == "none"
                seen += 1
    assert seen == 6
    arrays = registry.dataset("any.npz")
    assert resolve_dataset(presets_of(arrays)["default"].values, arrays)["target_scale"] == "standard"
