"""Make a record of many synthetic runs through the same code that records real ones, to time what reads it.

python tests/support/records/many_runs.py --home FOLDER --runs 10000; then MCR_BENCH_HOME=FOLDER mcr-bench tables.
Nothing is trained: the logits are a method's skill plus noise that methods share, so that runs of one seed are paired
as real ones are.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import EpochDone
from mcr_bench.bench.runs.spec import RunSpec

Array = np.ndarray
CLASSES, SAMPLES, GROUPS = 5, {"val": 100, "test": 300}, 20
DIALS = {"modalities": 2, "classes": CLASSES, "shared": 0.6, "unique": "0.2/0.2"}
MODALITIES = ("audio", "video")
LINES = (("unimodal", "unimodal", ("audio",)), ("unimodal", "unimodal", ("video",)))
OTHERS = (("ensemble", "ensemble", MODALITIES), ("joint", "method", MODALITIES), ("multi-loss", "method", MODALITIES))


def specs(methods: int, datasets: int, seeds: int) -> Iterator[RunSpec]:
    """`methods` lines (two unimodal ones, the ensemble, joint, multi-loss, then invented ones) per dataset and seed."""
    named = [*LINES, *OTHERS, *((f"method-{i:02}", "method", MODALITIES) for i in range(methods))]
    for dataset in range(datasets):
        for seed in range(seeds):
            for method, role, modalities in named[:methods]:
                yield _spec(method, role, modalities, f"many-{dataset:02}", seed)


def _spec(method: str, role: str, modalities: tuple[str, ...], dataset: str, seed: int) -> RunSpec:
    optimizer = {"name": "adam", "lr": 1e-3, "weight_decay": 1e-4, "momentum": 0.9, "beta1": 0.9, "beta2": 0.999}
    schedule = {"name": "constant", "warmup": 0, "every": 70, "factor": 0.1, "first": 4}
    training = {"epochs": 3, "patience": 10, "batch_size": 64, "monitor": "accuracy", "precision": "fp32"}
    training |= {f"optimizer.{k}": v for k, v in optimizer.items()} | {f"schedule.{k}": v for k, v in schedule.items()}
    return RunSpec(
        method=method,
        method_digest="0" * 16,
        settings={f"setting{i}": 0.1 * i for i in range(6)},
        adapter=dataset,
        data_settings=DIALS,
        fingerprint="0" * 64,
        modalities=modalities,
        protocol="paper",
        fold=1,
        seed=seed,
        training=training,
        model={"fusion": "late-linear", "width": 64},
        encoders={m: {"kind": "mlp", "width": 100, "depth": 2, "dropout": 0.5} for m in modalities},
        dependencies=(),
        dataset=dataset,
        dataset_settings=DIALS,
        source="",
        dataset_source="",
        data_root=Path("data"),
        role=role,
        preset="many",
        preset_origin="paper",
        overrides="",
        protocol_card="paper: 1000/100/300 samples; selected on validation; metric accuracy; folds [1]",
        metric="accuracy",
        scales_gradients=False,
    )


def logits(spec: RunSpec, labels: Array) -> dict[str, Array]:
    """Column -> (N, C) float32: joint, per modality and per subset."""
    shared = np.random.default_rng([int(spec.dataset[-2:]), spec.seed]).normal(size=(len(labels), CLASSES))
    own = np.random.default_rng(list(spec.key.encode()))
    names = ["logits", *(f"modality/{m}" for m in spec.modalities), "subset/"]
    names += [f"subset/{'+'.join(s)}" for s in {spec.modalities[:1], spec.modalities[-1:], spec.modalities}]
    skill = 1.0 + 0.02 * (sum(spec.method.encode()) % 20)
    truth = np.eye(CLASSES)[labels] * skill
    return {name: (truth + shared + 0.5 * own.normal(size=truth.shape)).astype(np.float32) for name in names}


def write_predictions(path: Path, spec: RunSpec) -> dict[str, float]:
    """The artifact of a run; returns accuracies per part and modality under the names of the record."""
    parts = [part for part, count in SAMPLES.items() for _ in range(count)]
    labels = np.random.default_rng(int(spec.dataset[-2:])).integers(CLASSES, size=len(parts))
    found = logits(spec, labels)
    columns: dict[str, pa.Array] = {
        "part": pa.array(parts),
        "id": pa.array([f"{spec.dataset}/{i:05}" for i in range(len(parts))]),
        "group": pa.array([f"subject {i % GROUPS:02}" for i in range(len(parts))]),
        "label": pa.array(labels),
    }
    columns |= {k: pa.FixedSizeListArray.from_arrays(pa.array(v.ravel()), CLASSES) for k, v in found.items()}
    pq.write_table(pa.table(columns), path)
    test = np.array(parts) == "test"
    hits = {name: float((z.argmax(1) == labels)[test].mean()) for name, z in found.items()}
    unimodal = {f"test/modality/{m}/accuracy": hits[f"modality/{m}"] for m in spec.modalities}
    shares = {f"test/contribution/{m}": hits["logits"] / len(spec.modalities) for m in spec.modalities}
    return {"test/accuracy": hits["logits"], "test/macro_f1": hits["logits"] - 0.01} | unimodal | shares


def record_run(record: Record, spec: RunSpec, folder: Path) -> None:
    """All that a real run leaves: three epochs, final metrics, tags, predictions."""
    if record.start(spec) is None:
        return
    for number in (1, 2, 3):
        epoch = {f"train/loss/{m}": 1.0 / number for m in spec.modalities}
        epoch |= {f"val/{name}": 0.2 * number for name in ("accuracy", "macro_f1", "ece", "loss")}
        record.log_epoch(spec, EpochDone(spec.key, number, 3, epoch, time.time()))
    path = folder / "predictions.parquet"
    metrics = write_predictions(path, spec)
    metrics |= {f"selected_val/{name}": 0.5 for name in ("accuracy", "macro_f1", "ece", "loss")}
    metrics |= {f"cost/{name}": 1.0 for name in ("seconds", "seconds_per_step", "encoder_forwards", "peak_memory_mib")}
    metrics |= {"epochs": 3.0, "best_epoch": 3.0, "data/train_samples": 1000.0, "data/test_samples": 300.0}
    tags = {"version/torch": "2.13.0", "version/numpy": "2.4.6", "platform": "synthetic", "device": "cpu"}
    record.finish(spec, metrics, [path], tags)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=10_000, help="at most this many")
    parser.add_argument("--methods", type=int, default=20, help="lines of each table")
    parser.add_argument("--datasets", type=int, default=25)
    parser.add_argument("--seeds", type=int, default=20)
    chosen = parser.parse_args()
    began, record = time.monotonic(), Record(home=chosen.home)
    wanted = islice(specs(chosen.methods, chosen.datasets, chosen.seeds), chosen.runs)
    with tempfile.TemporaryDirectory() as folder:
        for number, spec in enumerate(wanted, start=1):
            record_run(record, spec, Path(folder))
            if number % 500 == 0:
                print(f"{number} runs, {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
