"""The contribution of every test sample to a run's primary metric, read from stored predictions and cached."""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from sys import intern

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.inputs.sizes import excess
from mcr_bench.bench.record.files.artifacts import Artifact
from mcr_bench.bench.record.files.cache import Kept, SamplesCache
from mcr_bench.bench.record.files.checksums import checksum
from mcr_bench.bench.record.files.threads import in_threads

UNREADABLE = (KeyError, ValueError, TypeError, IndexError, pa.ArrowException)  # of a file of no or of another content
NAMES = ["id", "group"]
SHARED = ["part", *NAMES]  # the columns that the runs of a comparison have in common
WIDEST = 64  # bytes of a value in memory: a short text
Names = tuple[NDArray[np.str_], NDArray[np.str_]]
Stored = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a file.

    names: the ids and groups of the N test samples, as JSON.
    test: (rows,) bool, whether each row is of the test part.
    """

    names: str
    test: NDArray[np.bool_]


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


def read_samples(
    run_ids: Iterable[str],
    find: Callable[[str], Artifact],
    cache: Path,
    lost: Callable[[str, Exception], object] = lambda *_: None,
) -> dict[str, Samples]:
    """Run id -> its samples; runs without a readable file of predictions are left out.

    find: gives the predictions.parquet of a run, which is read where the cache does not hold what was made of it.
    cache: the file in which the scores of finished runs are kept.
    lost: takes each run that is left out, with the reason.
    """
    wanted, store = list(dict.fromkeys(run_ids)), SamplesCache(cache)
    kept = store.read(wanted)
    known: dict[Stored, Rows] = {}
    read = in_threads(lambda run_id: _read(run_id, find, kept.get(run_id), known), wanted)
    every, fresh = dict[str, Kept](), dict[str, Kept]()
    for run_id, answer in zip(wanted, read, strict=True):
        if isinstance(answer, Exception):
            lost(run_id, answer)
        else:
            every[run_id], is_fresh = answer
            fresh |= {run_id: every[run_id]} if is_fresh else {}
    store.write(fresh)
    named: dict[str, Names] = {}
    return {run_id: _samples(scores, named) for run_id, scores in every.items()}


def keep_samples(run_id: str, stored: Artifact, content: bytes, cache: Path) -> None:
    """Put the scores of a run that has just finished into the cache, as reading thousands of files later is slow.

    stored: its predictions in the record; content: what they hold.
    """
    with suppress(OSError, *UNREADABLE):
        SamplesCache(cache).write({run_id: _scores(content, stored, {})})


def _samples(kept: Kept, named: dict[str, Names]) -> Samples:
    if kept.names not in named:
        named[kept.names] = _names(kept.names)
    score = np.frombuffer(kept.score, dtype="<f4")
    return Samples(*named[kept.names], score)


def _names(text: str) -> Names:
    ids, groups = (np.array(names, dtype=np.str_) for names in json.loads(text))
    ids.flags.writeable = groups.flags.writeable = False
    return ids, groups


def _read(
    run_id: str, find: Callable[[str], Artifact], kept: Kept | None, known: dict[Stored, Rows]
) -> tuple[Kept, bool] | Exception:
    """The scores of a run, and whether the cache shall keep them; or why there are none."""
    try:
        artifact = find(run_id)
        if kept is not None and _is_of(kept, artifact):
            return kept, False
        return _scores(artifact.content(), artifact, known), artifact.final
    except (OSError, *UNREADABLE) as error:
        return error


def _is_of(kept: Kept, artifact: Artifact) -> bool:
    """Whether these are the scores of this file: of its checksum, and the file has not been touched since."""
    return artifact.checksum in ("", kept.checksum) and kept.stamp == artifact.stamp


def _scores(content: bytes, artifact: Artifact, known: dict[Stored, Rows]) -> Kept:
    """known: what the columns of earlier files say of their rows; decoding them again takes longer than the logits."""
    with opened(content) as parquet:
        stored = _stored(parquet.metadata, content)
        rows = known.get(stored) or known.setdefault(stored, _rows(parquet.read(columns=SHARED, use_threads=False)))
        table = parquet.read(columns=["label", "logits"], use_threads=False)
    score = scores_of(table["label"], table["logits"])[rows.test].astype("<f4").tobytes()
    return Kept(rows.names, score, artifact.checksum or checksum(content), artifact.stamp)


def _rows(table: pa.Table) -> Rows:
    """table: the columns SHARED of a file."""
    test = [part == "test" for part in table["part"].to_pylist()]
    names = [list(compress(table[name].to_pylist(), test)) for name in NAMES]
    return Rows(intern(json.dumps(names)), np.array(test, dtype=bool))


def _stored(metadata: pq.FileMetaData, content: bytes) -> Stored:
    """The columns SHARED as the file has them, each with its type: equal ones have equal values."""
    places = {metadata.schema.column(at).path: at for at in range(metadata.num_columns)}
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    return tuple(_chunk(metadata, group, places[name], content) for name in SHARED for group in groups)


def _chunk(metadata: pq.FileMetaData, group: pq.RowGroupMetaData, at: int, content: bytes) -> tuple[str, bytes]:
    column = group.column(at)
    begin = column.dictionary_page_offset or column.data_page_offset
    how = f"{metadata.schema.column(at)} {column.compression} {column.num_values}"
    return how, content[begin : begin + column.total_compressed_size]


def opened(content: bytes) -> pq.ParquetFile:
    """A Parquet file to read; ValueError if it holds more than a file may take in memory.

    Equal values take no room on the disk.
    """
    parquet = pq.ParquetFile(pa.BufferReader(content))
    stated = parquet.metadata
    groups = (stated.row_group(number) for number in range(stated.num_row_groups))
    values = sum(group.column(at).num_values for group in groups for at in range(group.num_columns))
    if reason := excess(WIDEST * values):
        raise ValueError(reason)
    return parquet


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
    values = column.combine_chunks()
    if not pa.types.is_fixed_size_list(column.type):
        return _numbers(values)
    return _numbers(values.flatten()).reshape(len(column), -1)


def _numbers(values: pa.Array) -> Array:
    """(N,), without `to_numpy` where no number is missing, as it imports pandas."""
    kind = values.type
    if values.null_count or not len(values) or not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return np.asarray(values.to_numpy(zero_copy_only=False))
    letter = "f" if pa.types.is_floating(kind) else "i" if pa.types.is_signed_integer(kind) else "u"
    dtype = np.dtype(f"{letter}{kind.bit_width // 8}")
    return np.frombuffer(values.buffers()[1], dtype, len(values), values.offset * dtype.itemsize)
