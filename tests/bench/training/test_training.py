"""The training loop: every method resumes bit-equal, selection never reads test, seeds give common random numbers."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.runs.events import EpochDone, Event, Job, RunDone
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.training import loop as training
from mcr_bench.bench.training.checkpoints import load_weights
from mcr_bench.bench.training.loop import Training, fit_run, start, train_epoch
from mcr_bench.datasets.base import Batch, Split
from mcr_bench.methods.base import Method
from mcr_bench.tests.support.runs.measured import MEASURED

METHODS = registry.method_names()
SMALL = {"epochs": ["4"], "batch_size": ["16"], "encoder.width": ["8"], "model.width": ["6"]}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return array_file(tmp_path)


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data and the runs that methods start from: these are trained once for all methods."""
    folder = tmp_path_factory.mktemp("common")
    array_file(folder)
    return folder


def array_file(folder: Path) -> Path:
    """A three-modality array file that takes milliseconds per epoch; one batch of the epoch holds a single sample."""
    rng = np.random.default_rng(0)
    y = np.arange(105) % 3
    split = np.array(["train"] * 65 + ["val"] * 20 + ["test"] * 20)
    arrays = {
        f"x_{m}": rng.normal(size=(105, d)).astype("float32") + y[:, None] for m, d in (("a", 4), ("b", 6), ("c", 3))
    }
    np.savez(folder / "small.npz", y=y, split=split, **arrays)
    return folder / "small.npz"


def plan_of(data: Path, method: str, **overrides: list[str]) -> list[RunSpec]:
    """The runs of one method on two modalities, dependencies first."""
    values = SMALL | {k.replace("__", "."): v for k, v in overrides.items()}
    return make_plan(Request([method], [str(data)], modalities=("a", "b"), seeds=[3], overrides=values)).runs


def job_of(spec: RunSpec, home: Path, dependencies: Path | None = None) -> Job:
    """dependencies: the home of the runs that it starts from, where that is another one."""
    weights = {run.key: (dependencies or home) / "weights" / f"{run.key}.pt" for run in spec.dependencies}
    return Job(spec, "cpu", home / "work" / spec.key, weights, home / "weights" / f"{spec.key}.pt")


def run_all(specs: list[RunSpec], home: Path) -> list[Event]:
    """The events of the last run, after its dependencies."""
    events: list[Event] = []
    for spec in specs:
        events.clear()
        fit_run(job_of(spec, home), events.append)
    return events


def results(events: list[Event]) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Per-epoch metrics and final metrics without what is measured by a clock."""
    final = next(e.metrics for e in events if isinstance(e, RunDone))
    epochs = [e.metrics for e in events if isinstance(e, EpochDone)]
    return epochs, {k: v for k, v in final.items() if k not in MEASURED}


class Killed(BaseException):
    """Stands for kill -9."""


def kill_in_epoch(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """Make training die in the middle of an epoch, after some of its optimiser steps."""
    original = Split.batch

    def dying(split: Split, index: torch.Tensor):  # type: ignore[no-untyped-def]
        dying.calls += 1
        if torch.is_grad_enabled() and dying.fit is not None and dying.fit().epoch == epoch and dying.calls > 2:
            raise Killed
        return original(split, index)

    dying.calls, dying.fit = 0, None
    started = training.start

    def spying(job: Job) -> Training:
        run = started(job)
        dying.fit = lambda: run.fit
        return run

    monkeypatch.setattr(training, "start", spying)
    monkeypatch.setattr(Split, "batch", dying)


@pytest.mark.parametrize("name", [n for n in METHODS if registry.method(n).trains])
def test_killed_in_the_middle_of_an_epoch_a_run_resumes_to_a_bit_equal_end(
    name: str, common: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = _with_what_it_needs(name, common)
    one, two = (job_of(spec, tmp_path / home, common) for home in ("calm", "killed"))
    calm, resumed = list[Event](), list[Event]()
    fit_run(one, calm.append)
    with monkeypatch.context() as patched:
        kill_in_epoch(patched, 3)
        with pytest.raises(Killed):
            fit_run(two, lambda _: None, checkpoint_seconds=0)
    assert (two.folder / "checkpoint.pt").is_file()
    fit_run(two, resumed.append, checkpoint_seconds=0)
    assert results(resumed) == results(calm)
    kept, again = (load_weights(job.weights_out, torch.device("cpu")) for job in (one, two))
    assert all(torch.equal(kept[k], again[k]) for k in kept)
    assert pq.read_table(one.predictions).equals(pq.read_table(two.predictions))


def _with_what_it_needs(name: str, home: Path) -> RunSpec:
    """The run of a method on the data of `home`; the runs that it starts from are trained there."""
    *needed, spec = plan_of(home / "small.npz", name)
    for one in needed:
        if not job_of(one, home).weights_out.exists():
            run_all([one], home)
    return spec


@pytest.mark.parametrize("name", ["uni-pre-finetuned", "uni-pre-frozen", "uni-pre-multi-loss", "ensemble"])
def test_what_starts_from_unimodal_runs_takes_the_weights_that_validation_chose(
    name: str, data: Path, tmp_path: Path
) -> None:
    """With no epoch of its own a run ends with what it started from; a large rate makes an early epoch the best."""
    *alone, spec = plan_of(data, name, optimizer__lr=["0.3"])
    best = [next(e for e in run_all([s], tmp_path) if isinstance(e, RunDone)).metrics["best_epoch"] for s in alone]
    assert min(best) < 4
    spec = dataclasses.replace(spec, training={**spec.training, "epochs": 0})
    run_all([spec], tmp_path)
    found = load_weights(job_of(spec, tmp_path).weights_out, torch.device("cpu"))
    for one in spec.dependencies:
        weights = load_weights(tmp_path / "weights" / f"{one.key}.pt", torch.device("cpu"))
        kept = [k for k in weights if k.startswith(("encoders.", "own_heads."))]
        assert kept
        assert all(torch.equal(found[k], weights[k]) for k in kept)


@pytest.mark.parametrize("name", METHODS)
def test_selection_never_reads_the_test_part(
    name: str, common: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test part's samples and labels raise until the last epoch is over; then they are read once per question."""
    job = job_of(_with_what_it_needs(name, common), tmp_path, common)
    opened: list[bool] = []

    @dataclasses.dataclass
    class Sealed(Split):
        def __getattribute__(self, attribute: str) -> object:
            if attribute in ("target", "values", "batch", "to") and not opened:
                raise AssertionError(f"test {attribute} was read before selection was over")
            return super().__getattribute__(attribute)

    started, concluded = training.start, training.conclude

    def sealed(job: Job) -> Training:
        run = started(job)
        test = run.splits.test
        opened.append(True)
        run.splits.test = Sealed(test.values, test.target, test.ids, test.groups, test.lengths)
        opened.clear()
        return run

    def opening(run: Training, job: Job) -> dict[str, float]:
        assert training.finished(run)
        opened.append(True)
        return concluded(run, job)

    monkeypatch.setattr(training, "start", sealed)
    monkeypatch.setattr(training, "conclude", opening)
    events: list[Event] = []
    fit_run(job, events.append)
    assert "test/accuracy" in results(events)[1]
    opened.clear()
    with pytest.raises(AssertionError, match="before selection"):
        _ = sealed(job).splits.test.target


def test_the_best_epoch_is_tested_not_the_last(data: Path, tmp_path: Path) -> None:
    spec = plan_of(data, "joint", epochs=["12"], **{"optimizer.lr": ["0.05"]})[-1]
    epochs, final = results(run_all([spec], tmp_path))
    scores = [(m["val/accuracy"], -m["val/loss"]) for m in epochs]
    best = scores.index(max(scores))
    assert final["best_epoch"] == best + 1
    assert final["selected_val/accuracy"] == epochs[best]["val/accuracy"]


def test_patience_stops_a_run(data: Path, tmp_path: Path) -> None:
    spec = plan_of(data, "joint", epochs=["60"], patience=["2"], **{"optimizer.lr": ["0.05"]})[-1]
    _, final = results(run_all([spec], tmp_path))
    assert final["epochs"] == final["best_epoch"] + 2 < 60


def test_one_seed_gives_every_method_the_same_start_and_the_same_batches(data: Path, tmp_path: Path) -> None:
    """A method that chooses its samples itself (`epoch_batches`) has them in the same order, and may leave some out.

    A fusion head that a method puts in the place of the run's own makes other logits of the same features and weights.
    """
    seen: dict[str, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}
    fusions = {}
    for name in METHODS:
        cls = registry.method(name)
        if not cls.trains or cls.role == "unimodal" or cls().requires(("a", "b")):
            continue
        run = start(job_of(plan_of(data, name)[-1], tmp_path))
        run.fit.model.eval()
        with torch.no_grad():
            outputs = run.fit.model(run.fit.train.batch(torch.arange(65)).inputs)
        weights = {k: x.clone() for k, x in run.fit.model.fusion.state_dict().items()}
        fusions[name] = type(run.fit.model.fusion), weights, outputs.logits
        order: list[torch.Tensor] = []
        batch = run.fit.train.batch

        def noted(index: torch.Tensor, order: list[torch.Tensor] = order, batch: Any = batch) -> Batch:
            if torch.is_grad_enabled():  # those that are trained on; a method may look at others before
                order.append(index)
            return batch(index)  # type: ignore[no-any-return]

        run.fit.train.batch = noted  # type: ignore[method-assign]
        run.fit.epoch = 1
        train_epoch(run)
        seen[name] = [*outputs.features.values()], order
    features, order = seen["joint"]
    kind, weights, logits = fusions["joint"]
    assert len(seen) >= 6
    assert len(order) == 5
    for name, (other_features, other_order) in seen.items():
        assert all(torch.equal(f, g) for f, g in zip(features, other_features, strict=True)), name
        other_kind, other_weights, other_logits = fusions[name]
        assert all(torch.equal(x, weights[k]) for k, x in other_weights.items() if k in weights), name
        assert torch.equal(logits, other_logits) or other_kind is not kind, name
        joint, other = torch.cat(order), torch.cat(other_order)
        assert torch.equal(joint[torch.isin(joint, other)], other), name
        if registry.method(name).epoch_batches is Method.epoch_batches:
            assert all(torch.equal(i, j) for i, j in zip(order, other_order, strict=True)), name


def test_predictions_hold_every_subset_and_reproduce_the_metric(data: Path, tmp_path: Path) -> None:
    spec = make_plan(Request(["joint"], [str(data)], seeds=[0], overrides=SMALL)).runs[-1]
    _, final = results(run_all([spec], tmp_path))
    table = pq.read_table(job_of(spec, tmp_path).predictions).to_pandas()
    subsets = {c.removeprefix("subset/") for c in table if c.startswith("subset/")}
    assert subsets == {"", "a", "b", "c", "a+b", "a+c", "b+c"}
    test = table[table.part == "test"]
    assert np.mean(np.stack(test.logits).argmax(1) == test.label) == final["test/accuracy"]
    assert len(test) == 20 == final["data/test_samples"]
    right = {s: np.mean(np.stack(test[f"subset/{s}"]).argmax(1) == test.label) for s in ("", "a")}
    shares = [final[f"test/contribution/{m}"] for m in "abc"]
    assert sum(shares) == pytest.approx(final["test/accuracy"] - right[""])
    assert len(set(shares)) > 1
    assert {c for c in table if c.startswith("modality/")} == {"modality/a", "modality/b", "modality/c"}


def test_a_diverging_run_fails_and_says_why(data: Path, tmp_path: Path) -> None:
    spec = plan_of(data, "joint", **{"optimizer.lr": ["1e30"], "optimizer.name": ["sgd"]})[-1]
    with pytest.raises(RuntimeError, match="diverged"):
        run_all([spec], tmp_path)


def test_bf16_trains(data: Path, tmp_path: Path) -> None:
    _, final = results(run_all(plan_of(data, "mlb", precision=["bf16"], **{"optimizer.lr": ["0.02"]}), tmp_path))
    assert final["test/accuracy"] > 0.5


def test_data_that_changed_after_the_plan_is_not_trained_on(data: Path, tmp_path: Path) -> None:
    (spec,) = plan_of(data, "joint")
    arrays = dict(np.load(data))
    np.savez(data, **{**arrays, "x_a": arrays["x_a"] + 1})
    with pytest.raises(UserError, match="has changed since the run was planned"):
        start(job_of(spec, tmp_path))
