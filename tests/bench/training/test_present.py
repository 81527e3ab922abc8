"""Samples that lack a modality: their values never matter, and own losses, probes and unimodal runs leave them out."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel, Outputs
from mcr_bench.bench.planning.heads import usual_head
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.problem.absent import completed
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, tiny_split
from mcr_bench.bench.training.evaluation import absent_inputs, subset_logits
from mcr_bench.bench.training.loop import fit_run
from mcr_bench.bench.training.probes import FeatureStore
from mcr_bench.datasets.base import Rows, Split, Splits, standardise
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.multi_loss import MultiLoss
from mcr_bench.tests.support.runs.hooked import array_file, equal_weights, job_of, runs_of, same, trained

SHORT = {"epochs": "2", "model__fusion": "late-linear"}
ALONE = [n for n in registry.method_names() if registry.method(n).trains and registry.method(n).role != "unimodal"]
FROM_SCRATCH = [n for n in ALONE if not registry.method(n)().requires(("a", "b"))]


def lacking(count: int, samples: int = 60) -> dict[str, np.ndarray]:
    """`present_a`, and of three modalities `present_b`: a third and a fifth of the samples lack them."""
    rows = np.arange(samples)
    present = {"present_a": rows % 3 != rows // 3 % 3, "present_b": rows % 5 != 1}
    return dict(list(present.items())[: count - 1])


def spoilt(path: str, value: float) -> str:
    """The same file with other values wherever a modality is absent."""
    arrays = dict(np.load(path))
    for key in [key for key in arrays if key.startswith("present_")]:
        arrays[key.replace("present", "x")][~arrays[key]] = value
    other = path.replace(".npz", f"_{value}.npz")
    np.savez(other, **arrays)
    return other


@pytest.mark.parametrize(
    ("name", "count"),
    [(n, 3 if (registry.method(n).needs.at_most or 3) > 2 else 2) for n in FROM_SCRATCH] + [("joint", 2), ("mcr", 2)],
)
def test_values_of_absent_modalities_never_matter(name: str, count: int, tmp_path: Path) -> None:
    if reason := registry.method(name).needs.unmet(count, Task(3)):
        pytest.skip(reason)
    data = array_file(tmp_path / "set.npz", count, **lacking(count))
    short = SHORT | {"model__fusion": usual_head(registry.method(name)).name}
    one, other = (trained(runs_of(name, spoilt(data, x), **short)[-1], tmp_path) for x in (float("nan"), 1e30))
    assert same(one, other)
    assert all(torch.isfinite(x).all() for x in one.weights.values())


@pytest.mark.parametrize("name", ["joint", "mcr", "agm"])
@pytest.mark.parametrize("count", [2, 3])
def test_with_all_present_a_file_is_as_without_the_arrays(name: str, count: int, tmp_path: Path) -> None:
    everywhere = {f"present_{m}": np.ones(60, kind) for m, kind in zip("abc"[:count], (bool, int, float), strict=False)}
    runs = [
        runs_of(name, array_file(tmp_path / f"{file}.npz", count, **more), **SHORT)[-1]
        for file, more in (("plain", {}), ("told", everywhere))
    ]
    assert runs[0].key != runs[1].key
    assert same(*(trained(run, tmp_path) for run in runs))


@pytest.mark.parametrize("count", [2, 3])
def test_a_unimodal_run_is_that_on_the_samples_that_have_the_modality(count: int, tmp_path: Path) -> None:
    present = lacking(count)
    data = array_file(tmp_path / "set.npz", count, **present)
    whole = dict(np.load(array_file(tmp_path / "whole.npz", count)))
    has = present["present_a"] | (whole["split"] == "test")
    np.savez(tmp_path / "reduced.npz", **{key: array[has] for key, array in whole.items()})
    runs = [
        next(run for run in runs_of("unimodal", path, **SHORT) if run.modalities == ("a",))
        for path in (data, str(tmp_path / "reduced.npz"))
    ]
    lacks, reduced = (trained(run, tmp_path) for run in runs)
    assert equal_weights(lacks.weights, reduced.weights)
    assert lacks.epochs == reduced.epochs
    assert lacks.final["data/train_samples"] == present["present_a"][:30].sum() < 30
    assert lacks.final["data/test_samples"] == 15  # all are predicted, so that runs can be compared sample by sample


def test_a_killed_run_resumes_bit_equal(tmp_path: Path) -> None:
    (spec,) = runs_of("mlb", array_file(tmp_path / "set.npz", 3, **lacking(3)))
    assert same(trained(spec, tmp_path / "calm"), trained(spec, tmp_path / "killed", killed_in=3))


def parts(split: Split) -> Splits:
    """The same samples as all three parts."""
    return Splits(*(Split(dict(split.values), split.target, split.ids, present=dict(split.present)) for _ in range(3)))


def half_present(count: int = 2) -> Split:
    """24 samples, every second of which lacks audio, whose values there are not numbers."""
    split = tiny_split(NAMES[:count])
    split.present = {"audio": torch.arange(24) % 2 == 0}
    values = split.values["audio"].clone()
    values[1::2] = float("nan")
    split.values = {**split.values, "audio": values}
    return split


@pytest.mark.parametrize("count", [2, 3])
def test_an_absent_modality_is_its_mean_training_input(count: int) -> None:
    """Mean and deviation over the samples that have it, by NumPy."""
    split = half_present(count)
    raw = split.values["audio"][::2].double().numpy()
    splits = completed(standardise(parts(split)))
    scaled = (raw - raw.mean(0)) / raw.std(0)
    assert np.allclose(splits.train.values["audio"][::2], scaled, atol=1e-6)
    assert np.allclose(splits.test.values["audio"][1::2], np.broadcast_to(scaled.mean(0), (12, 5)), atol=1e-6)
    assert torch.equal(splits.test.values["audio"][1], absent_inputs(splits.train).values["audio"][0])
    assert splits.train.present.keys() == {"audio"}


def test_padded_sequences_get_the_mean_of_real_steps_and_the_mean_length() -> None:
    x = torch.arange(24.0).reshape(4, 3, 2)
    x[3] = float("nan")
    lengths, present = torch.tensor([3, 1, 2, 9]), torch.tensor([True, True, True, False])
    other = {"b": torch.zeros(4, 1)}
    split = Split({"a": x, **other}, torch.arange(4), list("wxyz"), lengths={"a": lengths}, present={"a": present})
    train = completed(Splits(split, split, split)).train
    assert train.lengths["a"].tolist() == [3, 1, 2, 2]
    wanted = torch.stack([x[[0, 1, 2], 0].mean(0), x[[0, 2], 1].mean(0), x[0, 2]])
    assert torch.allclose(train.values["a"][3], wanted)


def test_samples_without_any_modality_of_the_run_leave_training_and_validation() -> None:
    split = half_present()
    split.values = {"audio": split.values["audio"]}
    splits = completed(parts(split))
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [12, 12, 24]
    assert splits.train.ids == [f"s{i}" for i in range(0, 24, 2)]
    assert not splits.train.present
    assert splits.test.present.keys() == {"audio"}


def test_a_modality_without_a_training_sample_is_told() -> None:
    nowhere = half_present()
    nowhere.present = {"audio": torch.zeros(24, dtype=torch.bool)}
    with pytest.raises(UserError, match="no training sample has the modality 'audio'"):
        completed(parts(nowhere))


def test_a_part_without_any_sample_of_the_run_is_told() -> None:
    split = half_present()
    split.values = {"audio": split.values["audio"]}
    splits = parts(split)
    splits.val.present = {"audio": torch.zeros(24, dtype=torch.bool)}
    with pytest.raises(UserError, match="no validation sample has any of the modalities audio"):
        completed(splits)


def test_samples_on_disk_are_refused() -> None:
    class Stored(Rows):
        shape = (24, 5)

        def __getitem__(self, index: Tensor) -> Tensor:
            return torch.zeros(len(index), 5)

        augmented = None  # type: ignore[assignment]
        mean = None  # type: ignore[assignment]
        to = None  # type: ignore[assignment]

    split = half_present()
    split.values = {**split.values, "audio": Stored()}
    with pytest.raises(UserError, match="'audio' is missing from some samples, but its samples stay on disk"):
        completed(parts(split))


@pytest.mark.parametrize("task", [Task(3), Task(None)], ids=["classes", "scores"])
@pytest.mark.parametrize("count", [2, 3])
def test_own_losses_are_means_over_the_samples_that_have_the_modality(count: int, task: Task) -> None:
    method = MultiLoss()
    fit = make_fit(method, NAMES[:count], task)
    split = tiny_split(NAMES[:count], task)
    split.present = {"audio": torch.arange(24) < 7}
    batch = split.batch(torch.tensor([3, 20, 6, 9, 1]))
    outputs = method.forward(batch)
    losses = method.loss(outputs, batch)
    having = torch.tensor([0, 2, 4])
    own = outputs.own_logits["audio"][having], batch.target[having]
    assert losses["own/audio"].item() == pytest.approx(task.loss(*own).item(), rel=1e-6)
    whole = task.loss(outputs.own_logits["video"], batch.target)
    assert torch.equal(losses["own/video"], whole)
    nobody = split.batch(torch.tensor([20, 21]))
    outputs = method.forward(nobody)
    assert method.loss(outputs, nobody)["own/audio"] == 0
    assert fit.model is outputs.model


@pytest.mark.parametrize("name", ["ogm", "mlb", "agm"])
@pytest.mark.parametrize("task", [Task(3), Task(None)], ids=["classes", "scores"])
@pytest.mark.parametrize("count", [2, 3])
def test_coefficients_do_not_see_absent_samples(name: str, task: Task, count: int) -> None:
    """A step's coefficients are those of a batch whose absent samples have other targets."""
    logged = []
    for shift in (0, 1):
        method = registry.method(name)()
        fit = make_fit(method, NAMES[:count], task)
        split = tiny_split(NAMES[:count], task)
        absent = torch.arange(24) >= 12
        split.present = dict.fromkeys(NAMES[:count], ~absent)
        split.target = torch.where(absent, (split.target + shift) % (task.classes or 5), split.target)
        fit.epoch = fit.step = 1
        method.train_step(split.batch(torch.arange(24)))
        means = fit.meters.means()
        logged.append({k: v for k, v in means.items() if k.startswith("coefficient/")})
    assert logged[0] == logged[1]
    assert logged[0].keys() == {f"coefficient/{m}" for m in NAMES[:count]}


def test_probes_are_fitted_on_samples_that_have_the_modality() -> None:
    fit = make_fit(Joint())
    store = FeatureStore(fit.model)
    split = tiny_split()
    split.present = {"audio": torch.arange(24) % 3 == 0}
    for rows in (torch.arange(10), torch.arange(10, 24)):
        batch = split.batch(rows)
        store.expect(batch.target, batch.inputs.present)
        fit.model(batch.inputs)
    taken = store.take()
    assert torch.equal(taken["audio"][1], split.target[::3])
    assert torch.equal(taken["video"][1], split.target)
    features = fit.model.encode(split.batch(torch.arange(24)).inputs)
    assert torch.allclose(taken["audio"][0], features["audio"][::3], atol=1e-6)
    assert store.take() == {}


def test_results_per_modality_are_over_the_samples_that_have_it(tmp_path: Path) -> None:
    present = lacking(2)
    (spec,) = runs_of("multi-loss", array_file(tmp_path / "set.npz", 2, **present), **SHORT)
    final = trained(spec, tmp_path).final
    table = pq.read_table(job_of(spec, tmp_path).predictions).to_pandas()
    test = table[table.part == "test"]
    assert test["present/a"].tolist() == present["present_a"][45:].tolist()
    assert "present/b" not in table
    right = np.stack(test["modality/a"]).argmax(1) == test.label
    assert final["test/modality/a/accuracy"] == pytest.approx(right[test["present/a"]].mean())
    assert final["test/accuracy"] == pytest.approx((np.stack(test.logits).argmax(1) == test.label).mean())
    # An absent modality has entered as in the prediction from a subset without it.
    gone = test[~test["present/a"]]
    assert np.allclose(np.stack(gone.logits), np.stack(gone["subset/b"]), atol=1e-6)


def test_a_modality_that_no_test_sample_has_is_missing_there_with_the_reason(tmp_path: Path) -> None:
    (spec,) = runs_of("multi-loss", array_file(tmp_path / "set.npz", present_a=np.arange(60) < 45), **SHORT)
    run = trained(spec, tmp_path)
    assert "test/modality/a/accuracy" not in run.final
    assert "no sample of the part has the modality" in run.tags["missing"]
    assert {"test/accuracy", "val/modality/a/accuracy"} <= run.final.keys() | run.epochs[0].keys()


def test_the_total_loss_leaves_out_a_modality_that_no_validation_sample_has(tmp_path: Path) -> None:
    present = np.arange(60) < 30  # of the parts the training part alone
    data = array_file(tmp_path / "set.npz", present_a=present)
    (spec,) = runs_of("multi-loss", data, **SHORT)
    assert np.isfinite(trained(spec, tmp_path).epochs[0]["val/total_loss"])


def test_a_run_without_a_sample_of_its_modality_fails_with_the_reason(tmp_path: Path) -> None:
    """In a fold over groups, since a file whose own split has it so is refused when it is read."""
    group = np.repeat(["2", "3", "1"], 20)  # fold 1 tests on 1, validates on 2 and trains on 3
    part = np.repeat(["train", "val", "test"], 20)
    data = array_file(tmp_path / "set.npz", present_a=group != "3", group=group, split=part)
    request = Request(["unimodal"], [data], protocol="groups", fold=1, seeds=[1])
    spec = next(run for run in make_plan(request).runs if run.modalities == ("a",))
    with pytest.raises(UserError, match="no training sample has the modality 'a'"):
        fit_run(job_of(spec, tmp_path), lambda _: None)


@dataclass
class Told(Joint):
    """Joint training that remembers which samples it was told to have each modality, and whose values are the mean."""

    absent: dict[str, Tensor] = field(default_factory=dict)
    calls: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = field(default_factory=list)

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        means = {m: (x == self.absent[m]).flatten(1).all(1) for m, x in inputs.values.items()}
        self.calls.append((dict(inputs.present), means))
        return super().predict(model, inputs)


@pytest.mark.parametrize("lacks", [False, True], ids=["all present", "some lack audio"])
@pytest.mark.parametrize("count", [2, 3])
def test_what_a_subset_leaves_out_is_told_as_absent(count: int, lacks: bool) -> None:
    names = NAMES[:count]
    method = Told()
    fit = make_fit(method, names)
    split = completed(parts(half_present(count) if lacks else tiny_split(names))).train
    method.absent = absent_inputs(split).values
    predictions = subset_logits(method, fit.model, split, absent_inputs(split), 10)
    assert len(method.calls) == 3 * len(predictions)
    left_out = []
    for present, means in method.calls:
        there = {m: present.get(m, torch.ones(len(means[m]), dtype=torch.bool)) for m in names}
        assert all(torch.equal(there[m], ~means[m]) for m in names)
        left_out.append(tuple(m for m in names if there[m].any()))
    assert set(left_out) == set(predictions)
