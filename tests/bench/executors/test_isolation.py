"""A run's result depends on the run alone: whatever a user's method does to its process ends with its run."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn import functional

from mcr_bench.bench.executors.local import ENTRY
from mcr_bench.bench.executors.pool import Worker, cause_of, ready
from mcr_bench.bench.executors.worker import FORKS
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.runs.events import Event, Job, RunDone, RunFailed
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.training.checkpoints import load_weights
from mcr_bench.tests.support.runs.measured import MEASURED
from mcr_bench.tests.support.runs.poisons import POISONS, write_poison

SMALL = {"epochs": ["2"], "batch_size": ["16"], "encoder.width": ["8"], "model.width": ["6"]}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    split = np.repeat(["train", "val", "test"], 30)
    folder = tmp_path_factory.mktemp("data")
    x = {f"x_{m}": rng.normal(size=(90, 4)).astype("float32") + y[:, None] for m in "ab"}
    np.savez(folder / "small.npz", y=y, split=split, **x)
    return folder / "small.npz"


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """One worker for everything, so that each run comes after all poisons before it."""
    made = Worker(ENTRY, "cpu")
    yield made
    made.stop()


def spec_of(method: str, data: Path) -> RunSpec:
    return make_plan(Request([method], [str(data)], seeds=[0], overrides=SMALL)).runs[-1]


def train(worker: Worker, spec: RunSpec, folder: Path) -> Event:
    """The last event of the run."""
    worker.give(Job(spec, "cpu", folder / "work", {}, folder / "weights.pt"))
    while True:
        for one in ready([worker], 600):
            for event in one.events():
                assert event is not None, cause_of(worker.death())
                if isinstance(event, RunDone | RunFailed):
                    worker.job = None
                    return event


def result(worker: Worker, spec: RunSpec, folder: Path) -> tuple[dict[str, float], list[torch.Tensor], object]:
    """Metrics without what is measured, weights, predictions."""
    end = train(worker, spec, folder)
    assert isinstance(end, RunDone), end
    weights = load_weights(folder / "weights.pt", torch.device("cpu"))
    metrics = {k: v for k, v in end.metrics.items() if k not in MEASURED}
    return metrics, list(weights.values()), pq.read_table(folder / "work/predictions.parquet")


@pytest.fixture(scope="module")
def clean(worker: Worker, data: Path, tmp_path_factory: pytest.TempPathFactory) -> object:
    """What joint training gives before any poison."""
    return result(worker, spec_of("joint", data), tmp_path_factory.mktemp("clean"))


@pytest.fixture(autouse=True)
def unpatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the poisons replace when they are imported to be planned is put back in the process of the tests."""
    monkeypatch.setattr(functional, "cross_entropy", functional.cross_entropy)


@pytest.mark.skipif(not FORKS, reason="here every run has a worker of its own")
@pytest.mark.parametrize("name", POISONS)
def test_no_poison_reaches_the_next_run(name: str, worker: Worker, clean: object, data: Path, tmp_path: Path) -> None:
    before = os.getcwd(), list(sys.path), torch.get_default_dtype(), dict(os.environ)
    poison = spec_of(str(write_poison(name, tmp_path)), data)
    assert (os.getcwd(), sys.path, torch.get_default_dtype(), dict(os.environ)) == before
    train(worker, poison, tmp_path / "poison")  # it may well fail of its own poison
    metrics, weights, predictions = result(worker, spec_of("joint", data), tmp_path / "after")
    assert metrics == clean[0]  # type: ignore[index]
    assert all(torch.equal(a, b) for a, b in zip(weights, clean[1], strict=True))  # type: ignore[index]
    assert predictions.equals(clean[2])  # type: ignore[attr-defined,index]


@pytest.mark.parametrize("name", ["cross_entropy", "adam_step", "harness", "tensor_method"])
def test_the_poisons_are_poison(name: str, worker: Worker, clean: object, data: Path, tmp_path: Path) -> None:
    """In their own runs they change the result: a test of isolation with harmless ones would show nothing."""
    end = train(worker, spec_of(str(write_poison(name, tmp_path)), data), tmp_path)
    assert isinstance(end, RunDone)
    assert {k: v for k, v in end.metrics.items() if k not in MEASURED} != clean[0]  # type: ignore[index]
