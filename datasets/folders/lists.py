"""Lists of values, as JSON and files of torch hold them -> arrays; None is NaN among numbers and '' among texts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.inputs.sizes import excess
from mcr_bench.bench.errors import UserError

CHARACTER, TEXT = 4, 64  # bytes of a character in an array of texts; of a text that Python holds
BYTES = 8  # of a number
NUMBERS: set[type] = {bool, int, float}


@dataclass(frozen=True, eq=False)
class Padded:
    """Sequences of several lengths, with zeros after the end of each.

    array: (N, T) ids of words, or (N, T, C) steps of C numbers each.
    lengths: (N,) int64, the real steps of each sample.
    """

    array: Array
    lengths: Array


def array_of(where: str, values: Sequence[object]) -> Array | Padded:
    """(N, ...) numbers or (N,) text of N values: numbers, texts, or lists of numbers; padded if lengths differ.

    where: the file and key, for messages. UserError for values of several types, and lists of several widths.

    >>> array_of("", [1, None]).tolist(), array_of("", ["a", None]).tolist()
    ([1.0, nan], ['a', ''])
    """
    kinds = {type(value) for value in values if value is not None}
    if kinds <= NUMBERS:
        return _numbers(values, kinds)
    if kinds == {str}:
        return array_of_texts(where, ["" if value is None else str(value) for value in values])
    if kinds == {list}:
        return stacked(where, [None if value is None else _row(where, value) for value in values])
    raise UserError(
        f"{where} holds values of type {', '.join(sorted(kind.__name__ for kind in kinds))}; allowed: numbers, texts, "
        "or lists of numbers, for all samples alike. Save it as one of these."
    )


def array_of_texts(where: str, texts: Sequence[str]) -> Array:
    """(N,) text; one long text among many takes its length for each of them, so that is asked first.

    where: the file and key, for messages. UserError for more than a file may take.
    """
    longest = max(map(len, texts), default=0)
    if reason := excess(len(texts) * (CHARACTER * longest + TEXT)):
        raise UserError(f"{where} {reason}. Nothing of it was used.")
    return np.array(texts, dtype=str)


def _numbers(values: Sequence[object], kinds: set[type]) -> Array:
    if None not in values and len(kinds) == 1 and float not in kinds:
        exact = np.array(values)
        return exact if exact.dtype.kind in "bi" else exact.astype(np.float64)
    return np.array([np.nan if value is None else value for value in values], np.float64)


def stacked(where: str, rows: Sequence[Array | None]) -> Array | Padded:
    """(N, ...) of the numbers of each sample, padded if the lists differ in length.

    A sample without a list is NaN, or has no steps where the others differ in length. Only lists of whole numbers (T,),
    which are ids of words, and of steps (T, C) may differ: a list of other numbers that is shorter than the rest is
    rather a mistake. where: the file and key, for messages. UserError for other lists, and where too much is needed.
    """
    given = [row for row in rows if row is not None]
    first = next((row for row in given if row.size), given[0] if given else np.empty(0))
    longest = max((len(row) for row in given if row.ndim), default=0)
    width = max((math.prod(row.shape[1:]) for row in given if row.ndim), default=1)
    if reason := excess(len(rows) * longest * width * BYTES):
        raise UserError(f"{where} {reason} when padded to {longest:,} steps. Cut the longest lists.")
    if all(row.shape == first.shape for row in given):
        blank = np.full(first.shape, np.nan) if len(given) < len(rows) else first
        return np.stack([blank if row is None else row for row in rows])
    ids = {row.dtype.kind for row in given if row.size} <= {"i", "u"}
    for at, row in enumerate(rows):
        if row is None or not row.size:
            continue
        if first.ndim == row.ndim == 1 and not ids and np.isnan(row).any():
            raise UserError(f"{where} lacks a number in list {at}. Add it, or leave the sample out.")
        if first.ndim == row.ndim == 1 and not ids and row.size != first.size:
            raise UserError(
                f"{where} has {first.size} numbers in one list and {row.size} in list {at}. Give each sample as many; "
                "if they are sequences, write each step as a list of its numbers: [[0.5], [0.7]]."
            )
        if row.ndim != first.ndim:
            raise UserError(
                f"{where} has lists of shape {first.shape} and, in list {at}, of shape {row.shape}. Write all alike."
            )
    return padded(where, [first[:0] if row is None or not row.size else row for row in rows])


def _row(where: str, value: object) -> Array:
    """The numbers of one sample."""
    try:
        row = np.array(value)
    except ValueError as error:
        raise ragged(where) from error
    if row.dtype == object and {type(one) for one in row.flat} <= {*NUMBERS, type(None)}:
        return row.astype(np.float64)  # None is NaN
    if row.size and row.dtype.kind not in "biuf":
        raise UserError(f"{where} holds lists of other things than numbers. Save lists of numbers.")
    return row


def ragged(where: str) -> UserError:
    """The error for lists whose inner lists differ in length."""
    return UserError(
        f"{where} holds lists whose inner lists differ in length; only sequences (T, C) may differ, in T. Give each "
        "step as many numbers."
    )


def padded(where: str, rows: Sequence[Array]) -> Padded:
    """Sequences (T,) of whole numbers as ids of words, those of other numbers as (T, 1), and (T, C) as they are.

    where: the file and key, for messages. UserError for shapes that differ in more than their first axis.
    """
    shaped = [row[:, None] if row.ndim == 1 else row for row in rows]
    for at, row in enumerate(shaped):
        if row.ndim != 2 or row.shape[1:] != shaped[0].shape[1:]:
            other = next((n for n, one in enumerate(rows) if one.shape != rows[0].shape), at)
            raise UserError(
                f"{where} has shape {rows[0].shape} in sample 0 and {rows[other].shape} in sample {other}; only "
                "sequences (T, C) may differ, in T. Resize or cut them."
            )
    lengths, kind = np.array([len(row) for row in shaped]), np.result_type(*shaped)
    ids = rows[0].ndim == 1 and all(row.dtype.kind in "iu" for row in shaped if row.size)
    array = np.zeros((len(shaped), max(1, int(lengths.max())), shaped[0].shape[1]), _whole(kind) if ids else kind)
    for own, row in zip(array, shaped, strict=True):
        own[: len(row)] = row
    return Padded(array[..., 0] if ids else array, lengths)


def _whole(kind: "np.dtype[np.generic]") -> "np.dtype[np.generic]":
    """The type of whole numbers: NumPy makes floats of signed and unsigned ones together, of which ids are no more."""
    return np.dtype(np.uint64) if kind.kind == "f" else kind
