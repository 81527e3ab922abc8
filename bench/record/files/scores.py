"""The score of every test sample of a run: computed from its predictions, and stored in a small file beside them.

Comparing thousands of runs takes the scores alone. Predictions hold the logits of every modality and of every subset,
so that reading them takes five times as long.

scores.parquet has the columns id, group and score (float32) of the test samples, in the order of the predictions. Its
metadata say how large the file of predictions is: where another one, or none, is beside it on this machine, the scores
do not count.
"""

import json
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from sys import intern
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.files import whole_file
from mcr_bench.bench.core.inputs.sizes import excess

SIZE = b"bytes of predictions"
WIDEST = 64  # bytes of a value in memory: a short text
UNREADABLE = (KeyError, ValueError, TypeError, IndexError, pa.ArrowException)  # of a file of no or of another content
OF_SAMPLES = ("id", "group")
OF_ROWS = ("part", *OF_SAMPLES)
Columns = tuple[object, ...]
Known = MutableMapping[Columns, "Rows"]


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a file.

    names: the ids and groups of the N test samples, as JSON.
    test: (rows,) bool, whether each row is of the test part.
    """

    names: str
    test: NDArray[np.bool_]


class Scores(NamedTuple):
    """The scores of a run's N test samples.

    names: the JSON text of [ids, groups], which many runs share.
    score: (N,) as little-endian float32; `scored` says what they are.
    size: bytes of the predictions that they are made of.
    """

    names: str
    score: bytes
    size: int


def write_scores(path: Path, scores: Scores) -> None:
    """Write the file of a run's scores."""
    ids, groups = json.loads(scores.names)
    columns = {"id": pa.array(ids, pa.string()), "group": pa.array(groups, pa.string())}
    columns |= {"score": pa.array(np.frombuffer(scores.score, "<f4"))}
    with whole_file(path) as file:
        pq.write_table(pa.table(columns, metadata={SIZE: str(scores.size)}), file)


def stored_scores(content: bytes, known: Known) -> Scores:
    """The scores in a file of them; OSError or UNREADABLE for another file.

    known: what the columns of earlier files say of their rows; decoding them again takes longer than the scores.
    """
    with opened(content) as parquet:
        rows = _rows(parquet, OF_SAMPLES, content, known)
        score = parquet.read(columns=["score"], use_threads=False)["score"]
        size = int(parquet.metadata.metadata[SIZE])
    if score.type != pa.float32() or score.null_count:
        raise ValueError("its scores are not float32 numbers")
    return Scores(rows.names, labels_of(score).astype("<f4").tobytes(), size)


def scores_of_predictions(content: bytes, known: Known) -> Scores:
    """The scores by a file of predictions; OSError or UNREADABLE for another file. known: as in `stored_scores`."""
    with opened(content) as parquet:
        rows = _rows(parquet, OF_ROWS, content, known)
        table = parquet.read(columns=["label", "logits"], use_threads=False)
    score = scores_of(table["label"], table["logits"])[rows.test]
    return Scores(rows.names, score.astype("<f4").tobytes(), len(content))


def _rows(parquet: pq.ParquetFile, names: Sequence[str], content: bytes, known: Known) -> Rows:
    """The rows by the columns of these names; a file without parts has only test samples."""
    metadata = parquet.metadata
    at = {metadata.schema.column(number).path: number for number in range(metadata.num_columns)}
    columns = (*names, *(_chunk(metadata, group, at[name], content) for name in names for group in _groups(parquet)))
    if columns not in known:
        table = parquet.read(columns=list(names), use_threads=False)
        parts = table["part"].to_pylist() if "part" in names else ["test"] * len(table)
        test = [part == "test" for part in parts]
        texts = [list(compress(table[name].to_pylist(), test)) for name in OF_SAMPLES]
        known[columns] = Rows(intern(json.dumps(texts)), np.array(test, dtype=bool))
    return known[columns]


def _groups(parquet: pq.ParquetFile) -> list[pq.RowGroupMetaData]:
    return [parquet.metadata.row_group(number) for number in range(parquet.metadata.num_row_groups)]


def _chunk(metadata: pq.FileMetaData, group: pq.RowGroupMetaData, at: int, content: bytes) -> tuple[str, bytes]:
    """A column as the file has it, with its type: equal ones have equal values."""
    column = group.column(at)
    begin = column.dictionary_page_offset or column.data_page_offset
    how = f"{metadata.schema.column(at)} {column.compression} {column.num_values}"
    return how, content[begin : begin + column.total_compressed_size]


def opened(content: bytes) -> pq.ParquetFile:
    """A Parquet file to read; ValueError if it holds more than a file may take in memory.

    Equal values take no room on the disk.
    """
    parquet = pq.ParquetFile(pa.BufferReader(content))
    values = sum(group.column(at).num_values for group in _groups(parquet) for at in range(group.num_columns))
    if reason := excess(WIDEST * values):
        raise ValueError(reason)
    return parquet


def scores_of(label: pa.ChunkedArray, logits: pa.ChunkedArray) -> NDArray[np.float32]:
    """The score of each of N samples, (N,), from the columns of predictions, as `scored` gives it."""
    return scored(labels_of(label), labels_of(logits))


def scored(target: Array, outputs: Array) -> NDArray[np.float32]:
    """The score of each of N samples, (N,). target: (N,), or (N, L) where a sample has several; outputs: (N, C).

    1 if the largest logit is that of the class, or all labels of a sample are right, otherwise 0, with the accuracy as
    mean; in a regression the absolute error, averaged over scores, with the MAE as mean.
    """
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
