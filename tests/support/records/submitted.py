"""A home of runs that were never trained, with predictions of the dataset's own samples, and its archive forged."""

import io
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mcr_bench.bench.catalog.making import make_dataset
from mcr_bench.bench.record.files.artifacts import PREDICTIONS
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.tests.support.records.homes import SMALL
from mcr_bench.tests.support.records.moving import sealed
from mcr_bench.tests.support.records.recorded import empty_record
from mcr_bench.tests.support.runs.planned import planned

CLASSES = 5
Entries = dict[str, bytes]


def make_submitted(folder: Path) -> Path:
    """The home `home` with joint, the ensemble and its unimodal runs, seeds 0 and 1, on generated data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        record = empty_record(Record(home=folder / "template"), folder / "home")
        plan = planned("synthetic", "joint", "ensemble", preset="balanced", seeds=(0, 1), set=SMALL)
        for run in plan.runs:
            record.start(run)
            _finish(record, run, folder / "predictions.parquet")
    return folder / "home"


def _finish(record: Record, run: RunSpec, path: Path) -> None:
    data = make_dataset("synthetic", Path("data"), run.dataset_settings)
    splits = data.load(run.protocol, run.fold, run.seed, run.modalities)
    draw, parts, metrics = np.random.default_rng(list(run.key.encode())), list[pa.Table](), dict[str, float]()
    for part, split in (("val", splits.val), ("test", splits.test)):
        labels = split.labels.numpy()
        names = ["logits", *(f"modality/{m}" for m in run.modalities)]
        logits = {name: draw.normal(size=(len(labels), CLASSES)).astype("float32") for name in names}
        columns: dict[str, Any] = {"part": [part] * len(labels), "id": split.ids, "group": split.ids, "label": labels}
        columns |= {k: pa.FixedSizeListArray.from_arrays(pa.array(z.ravel()), CLASSES) for k, z in logits.items()}
        parts.append(pa.table(columns))
        place = "selected_val" if part == "val" else "test"
        for name, z in logits.items():
            told = "accuracy" if name == "logits" else f"{name}/accuracy"
            metrics[f"{place}/{told}"] = float((z.argmax(1) == labels).mean())
        metrics[f"data/{part}_samples"] = float(len(labels))
    pq.write_table(pa.concat_tables(parts), path)
    counts = np.bincount(splits.train.labels.numpy(), minlength=CLASSES)
    metrics |= {"floor/accuracy": float((splits.test.labels.numpy() == counts.argmax()).mean())}
    metrics |= {"data/train_samples": float(len(splits.train)), "epochs": 3.0, "test/noise/m1/1/accuracy": 0.5}
    record.finish(run, metrics, [path], {"version/torch": "2.0.0", "platform": "none", "device": "cpu"})


def repacked(entries: Entries, key: str, change: Callable[[dict[str, Any]], object], file: str = PREDICTIONS) -> None:
    """Change the columns of a file of a run, name -> list of cells, with sizes and checksums that fit."""
    name = f"runs/{key}/files/{file}"
    table = pq.read_table(io.BytesIO(entries[name]))
    columns = table.to_pydict()
    change(columns)
    made = {
        k: pa.array(v, pa.list_(pa.float32(), len(v[0]))) if isinstance(v[0], list) else v for k, v in columns.items()
    }
    out = io.BytesIO()
    pq.write_table(pa.table(made).replace_schema_metadata(table.schema.metadata), out)
    entries[name] = out.getvalue()
    told = {"size": len(entries[name]), "sha256": sha256(entries[name]).hexdigest()}

    def reseal(run: dict[str, Any]) -> None:
        next(one for one in run["files"] if one["name"] == file).update(told)
        run["tags"][f"sha256/{file}"] = told["sha256"]

    sealed(entries, key, reseal)


def run_in(entries: Entries, method: str, seed: int = 0) -> tuple[str, dict[str, Any]]:
    """The key and the text of a run in an archive."""
    runs = [json.loads(text) for name, text in entries.items() if name.endswith("run.json")]
    run = next(one for one in runs if (one["tags"]["method"], one["tags"]["seed"]) == (method, str(seed)))
    return run["key"], run
