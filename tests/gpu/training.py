"""Small comparisons for the checks: planned, trained by the local executor, and what they left read back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from mcr_bench.bench.executors.base import ENTRY, TrainingPlan
from mcr_bench.bench.executors.local import LocalExecutor
from mcr_bench.bench.planning.plan import Plan, make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import Job, Observer, Outcome, Silent
from mcr_bench.bench.runs.spec import RunSpec

SMALL_SET = {"dataset.train": "96", "dataset.val": "48", "dataset.test": "48"}


def planned(methods: Sequence[str], dataset: str, seeds: int = 1, **settings: str) -> Plan:
    """The runs of some methods on a dataset; settings with two underscores for a dot: optimizer__name="sgd"."""
    overrides = {"epochs": ["2"]} | {key.replace("__", "."): [value] for key, value in settings.items()}
    if dataset == "synthetic":
        overrides = {key: [value] for key, value in SMALL_SET.items()} | overrides
    return make_plan(Request(list(methods), [dataset], seeds=list(range(seeds)), overrides=overrides))


class Files(Protocol):
    """Where the files of some runs are."""

    def weights(self, key: str) -> Path: ...
    def predictions(self, key: str) -> Path: ...


@dataclass(frozen=True)
class Trained:
    """What an execution left: its outcome, and the record with its files."""

    outcome: Outcome
    record: Record

    def weights(self, key: str) -> Path:
        """The file of a run's best weights."""
        return self.record.home / "weights" / f"{key}.pt"

    def predictions(self, key: str) -> Path:
        """The file of a run's predictions."""
        run_id = self.rows()[key].run_id
        found = sorted(self.record.home.glob("artifacts/*/*/artifacts/predictions.parquet"))
        return next(path for path in found if run_id in path.parts)

    def rows(self) -> dict[str, RunRow]:
        """Key -> the row of each run."""
        return {row.key: row for row in self.record.rows()}

    def require_finished(self, count: int) -> None:
        """AssertionError with the reasons if runs failed, or if not as many as `count` have finished."""
        failed = [f"{f.spec.label} (seed {f.spec.seed}): {f.reason}" for f in self.outcome.failed]
        assert not failed, f"{len(failed)} of {count} runs failed: {'; '.join(failed[:5])}"
        assert len(self.outcome.finished) == count, f"{len(self.outcome.finished)} of {count} runs finished"


def train(
    plan: Plan | Sequence[RunSpec],
    home: Path,
    device: str,
    *,
    entry: str = ENTRY,
    observer: Observer | None = None,
    **how: Any,
) -> Trained:
    """Train a plan into a record of its own in `home`; how: further options of `TrainingPlan`."""
    runs = plan.runs if isinstance(plan, Plan) else list(plan)
    record = Record(f"sqlite:///{home / 'mlflow.db'}", home)
    made = TrainingPlan(runs, device=device, keep_weights=lambda _: True, entry=entry, **how)
    return Trained(LocalExecutor().execute(made, record, observer or Silent()), record)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights in a file, on the CPU."""
    state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def read_predictions(path: Path) -> dict[str, np.ndarray]:
    """Column -> values of the predictions in a file."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    return {name: np.array(table[name].to_pylist()) for name in table.column_names}


def require_equal(ours: Files, theirs: Files, keys: Sequence[str]) -> None:
    """AssertionError where weights or predictions of a run differ in any bit."""
    for key in keys:
        ours_, theirs_ = (read_weights(trained.weights(key)) for trained in (ours, theirs))
        different = [name for name in ours_ if not torch.equal(ours_[name], theirs_[name])]
        assert not different, f"weights differ in {len(different)} of {len(ours_)} tensors, such as {different[0]}"
        left, right = (read_predictions(trained.predictions(key)) for trained in (ours, theirs))
        assert left.keys() == right.keys(), "the predictions have other columns"
        unequal = [name for name in left if not np.array_equal(left[name], right[name])]
        assert not unequal, f"predictions differ in {', '.join(unequal)}"


def job_of(spec: RunSpec, place: str, folder: Path, paths: Mapping[str, Path] | None = None) -> Job:
    """A job that trains `spec` in this process, with its files in `folder`; paths: the weights that it starts from."""
    folder.mkdir(parents=True, exist_ok=True)
    return Job(spec, place, folder, dict(paths or {}), folder / "weights.pt")


def array_file(folder: Path, samples: int = 192) -> Path:
    """A file of arrays with three modalities: vectors, sequences and images, of three classes."""
    draws = np.random.default_rng(0)
    target = np.arange(samples) % 3
    part = np.array(["train", "train", "val", "test"])[np.arange(samples) // 3 % 4]
    shapes: dict[str, tuple[int, ...]] = {"x_pulse": (12,), "x_motion": (10, 4), "x_face": (3, 16, 16)}
    arrays = {
        name: (draws.normal(size=(samples, *shape)) + 0.5 * target.reshape(-1, *[1] * len(shape))).astype("f4")
        for name, shape in shapes.items()
    }
    path = folder / "three.npz"
    np.savez(path, y=target, split=part, **arrays)
    return path
