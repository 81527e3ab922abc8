"""Records of runs that were planned as real ones are and never trained: what the tests of reading verbs share."""

import shutil
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mcr_bench.bench.executors.base import TrainingPlan
from mcr_bench.bench.planning.plan import Plan
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import EpochDone, Observer, Outcome
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.tests.support.runs.planned import planned

CLASSES, PARTS = 3, {"val": 10, "test": 12}


def save(path: Path, modalities: int = 2, regression: bool = False, seed: int = 0) -> str:
    """An array file of 40 samples whose modalities are called m1, m2, ..."""
    draw = np.random.default_rng(seed)
    y = np.resize(np.arange(CLASSES), 40)
    split = np.repeat(["train", "val", "test"], [18, 10, 12])
    arrays = {f"x_m{i + 1}": draw.normal(size=(40, 3)).astype("float32") for i in range(modalities)}
    np.savez(path, y=y + 0.5 if regression else y, split=split, **arrays)
    return str(path)


def empty_record(template: Record, home: Path) -> Record:
    """A record without runs; making the tables of a new one takes seconds, copying them does not."""
    template.prepare()
    home.mkdir(parents=True, exist_ok=True)
    for file in template.home.glob("mlflow.db*"):
        shutil.copy(file, home / file.name)
    return Record(home=home)


def pretend(
    record: Record,
    data: str,
    *methods: str,
    killed: Collection[str] = (),
    failed: Collection[str] = (),
    **asked: object,
) -> Plan:
    """Put the runs that a command asks for on record; killed, failed: labels whose last seed ends so."""
    plan = planned(data, *methods, **asked)  # type: ignore[arg-type]
    last = max(run.seed for run in plan.runs)
    for run in plan.runs:
        record.start(run)
        for number in (1, 2, 3):
            record.log_epoch(run, EpochDone(run.key, number, 3, _epoch(run, number), time.time()))
        if run.seed == last and run.label in killed:
            record.kill(run)
        elif run.seed == last and run.label in failed:
            record.fail(run, "Traceback (most recent call last):\n  File ...\nValueError: sizes\nof two tensors\n")
        else:
            finish(record, run)
    return plan


def execute(_: object, plan: TrainingPlan, record: Record, observer: Observer) -> Outcome:
    """What takes the place of an executor's `execute`: every run is on record, and nothing was trained."""
    observer.on_plan(plan.done + len(plan.runs), plan.done)
    for run in plan.runs:
        record.start(run, plan.force(run))
        finish(record, run)
    return Outcome(finished=list(plan.runs))


def finish(record: Record, run: RunSpec) -> None:
    """Put the results of a run that was started on record, drawn for its key."""
    path = record.home / "predictions.parquet"
    metrics = _final(run) | _write_predictions(path, run)
    tags = {"version/torch": "2.0.0", "platform": "none", "device": "cpu"}
    record.finish(run, metrics, [path], tags)


def _epoch(run: RunSpec, number: int) -> dict[str, float]:
    epoch = {f"val/{run.metric}": 0.1 * number}
    for i, m in enumerate(run.modalities):
        epoch |= {f"val/modality/{m}/{run.metric}": 0.1 * number + 0.02 * i}
        epoch |= {f"train/gradient_norm/{m}": 1.0 + i, f"train/coefficient/{m}": 0.5}
    return epoch


def _final(run: RunSpec) -> dict[str, float]:
    trained = run.role != "ensemble"
    metrics = {f"cost/{name}": 1.0 for name in ("seconds", "seconds_per_step", "peak_memory_mib")}
    metrics |= {"cost/encoder_forwards": 1.0, "cost/encoder_backwards": 1.0, "epochs": 3.0 * trained}
    return metrics | {"data/train_samples": 18.0} | {f"data/{part}_samples": float(n) for part, n in PARTS.items()}


def _write_predictions(path: Path, run: RunSpec) -> dict[str, float]:
    """The artifact of a run; the metrics that follow from it."""
    draw = np.random.default_rng(list(run.key.encode()))
    labels = np.resize(np.arange(CLASSES), sum(PARTS.values())) + (0.5 if run.metric == "mae" else 0)
    width = 1 if run.metric == "mae" else CLASSES
    names = ["logits", *(f"modality/{m}" for m in run.modalities)]
    logits = {name: draw.normal(size=(len(labels), width)).astype("float32") for name in names}
    columns = {
        "part": pa.array([part for part, n in PARTS.items() for _ in range(n)]),
        "id": pa.array([f"s{i:02}" for i in range(len(labels))]),
        "group": pa.array([f"s{i:02}" for i in range(len(labels))]),
        "label": pa.array(labels),
    }
    columns |= {k: pa.FixedSizeListArray.from_arrays(pa.array(v.ravel()), width) for k, v in logits.items()}
    pq.write_table(pa.table(columns), path)
    test = np.arange(len(labels)) >= PARTS["val"]
    values = {name: _value(run, z[test], labels[test]) for name, z in logits.items()}
    metrics = {f"test/modality/{m}/{run.metric}": values[f"modality/{m}"] for m in run.modalities}
    metrics |= {f"test/contribution/{m}": values["logits"] / len(run.modalities) for m in run.modalities}
    return metrics | {f"test/{run.metric}": values["logits"]}


def _value(run: RunSpec, logits: np.ndarray, labels: np.ndarray) -> float:
    if run.metric == "mae":
        return float(np.abs(logits[:, 0] - labels).mean())
    return float((logits.argmax(1) == labels).mean())


def labels(plan: Plan) -> Sequence[str]:
    return sorted({run.label for run in plan.runs})
