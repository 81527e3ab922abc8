"""The scores of a constant predictor for runs that did not log them, computed from their stored predictions."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from mcr_bench.bench.problem.floor import FLOOR, floor_metrics
from mcr_bench.bench.record.files.artifacts import Artifact
from mcr_bench.bench.record.files.samples import labels_of


def read_floors(run_ids: Iterable[str], find: Callable[[str], Artifact]) -> dict[str, dict[str, float]]:
    """Run id -> metric -> score of the constant on the test part; runs without readable predictions are left out.

    Training labels are not stored, so the constant is the best one for the labels of the validation part.
    """
    wanted = list(dict.fromkeys(run_ids))
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        floors = zip(wanted, pool.map(lambda run_id: _read(run_id, find), wanted), strict=True)
        return {run_id: floor for run_id, floor in floors if floor}


def _read(run_id: str, find: Callable[[str], Artifact]) -> dict[str, float]:
    try:
        with pq.ParquetFile(find(run_id).path) as parquet:
            table = parquet.read(columns=["part", "label"], use_threads=False)
        parts = (labels_of(table.filter(pc.equal(table["part"], part))["label"]) for part in ("val", "test"))
        known, test = (torch.tensor(labels) for labels in parts)
        floors = floor_metrics(known, test) if len(known) and len(test) else {}
        return {name.removeprefix(FLOOR): value for name, value in floors.items()}
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return {}
