"""The contribution of every test sample to a run's primary metric, read from stored predictions and cached."""

import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from sys import intern

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.record.files.artifacts import Artifact
from mcr_bench.bench.record.files.cache import Kept, SamplesCache

COLUMNS = ["part", "id", "group", "label", "logits"]
Names = tuple[NDArray[np.str_], NDArray[np.str_]]


@dataclass(frozen=True, eq=False)
class Samples:
    """The scores of a run's N test samples, in the order of its file. The arrays are read-only.

    Runs with equal ids and groups share these two arrays.

    ids: (N,) str, the id of each sample.
    groups: (N,) str, the group of each sample.
    score: (N,) float32; 1 if the largest logit is that of the class, or all labels of a sample are right, otherwise 0,
    with the accuracy as mean; in a regression the absolute error, averaged over scores, with the MAE as mean.
    """

    ids: NDArray[np.str_]
    groups: NDArray[np.str_]
    score: NDArray[np.float32]


def read_samples(run_ids: Iterable[str], find: Callable[[str], Artifact], cache: Path) -> dict[str, Samples]:
    """Run id -> its samples; runs without a readable file of predictions are left out.

    find: gives the predictions.parquet of a run; it is called only for runs that are not in the cache.
    cache: the file in which the scores of finished runs are kept.
    """
    wanted, store = list(dict.fromkeys(run_ids)), SamplesCache(cache)
    kept = store.read(wanted)
    missing = [run_id for run_id in wanted if run_id not in kept]
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        samples = zip(missing, pool.map(lambda run_id: _read(run_id, find), missing), strict=True)
        fresh = {run_id: one for run_id, one in samples if one is not None}
    store.write({run_id: scores for run_id, (scores, final) in fresh.items() if final})
    every = kept | {run_id: scores for run_id, (scores, _) in fresh.items()}
    named: dict[str, Names] = {}
    return {run_id: _samples(every[run_id], named) for run_id in wanted if run_id in every}


def keep_samples(run_id: str, predictions: Path, cache: Path) -> None:
    """Put the scores of a run that has just finished into the cache, as reading thousands of files later is slow."""
    samples = _read(run_id, lambda _: Artifact(predictions, True))
    SamplesCache(cache).write({run_id: samples[0]} if samples else {})


def _samples(kept: Kept, named: dict[str, Names]) -> Samples:
    if kept.names not in named:
        named[kept.names] = _names(kept.names)
    score = np.frombuffer(kept.score, dtype="<f4")
    return Samples(*named[kept.names], score)


def _names(text: str) -> Names:
    ids, groups = (np.array(names, dtype=np.str_) for names in json.loads(text))
    ids.flags.writeable = groups.flags.writeable = False
    return ids, groups


def _read(run_id: str, find: Callable[[str], Artifact]) -> tuple[Kept, bool] | None:
    try:
        path, final = find(run_id)
        with pq.ParquetFile(path) as parquet:
            table = parquet.read(columns=COLUMNS, use_threads=False)
        test = table.filter(pc.equal(table["part"], "test"))
        names = json.dumps([test["id"].to_pylist(), test["group"].to_pylist()])
        score = scores_of(test["label"], test["logits"])
        return Kept(intern(names), score.astype("<f4").tobytes()), final
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return None


def scores_of(label: pa.ChunkedArray, logits: pa.ChunkedArray) -> NDArray[np.float32]:
    """(N,), as `Samples` defines it."""
    target, outputs = labels_of(label), labels_of(logits)
    if target.dtype.kind == "f":
        score = np.abs(outputs.reshape(target.shape) - target).reshape(len(target), -1).mean(1)
    elif target.ndim == 1:
        score = outputs.argmax(1) == target
    else:
        score = ((outputs > 0) == (target > 0)).all(1)
    return np.asarray(score, dtype=np.float32)


def labels_of(column: pa.ChunkedArray) -> Array:
    """A column of N numbers as (N,), or of N lists of equal length L as (N, L)."""
    if not pa.types.is_fixed_size_list(column.type):
        return np.asarray(column.to_numpy())
    return np.asarray(pa.concat_arrays(column.chunks).flatten()).reshape(len(column), -1)
