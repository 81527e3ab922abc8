"""Ids of words in a file of arrays: whole numbers (N, T) beside their lengths, and what a user should know of them."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.contents.words import rows_in_words

MOST = 10_000_000  # ids: each has a vector that is learned


def holds_ids(arrays: Mapping[str, Array], modality: str) -> bool:
    """Whether `x_<modality>` is read as ids of words: whole numbers (N, T) beside `length_<modality>`.

    >>> holds_ids({"x_text": np.zeros((3, 9), int), "length_text": np.ones(3, int)}, "text")
    True
    """
    x = arrays[f"x_{modality}"]
    return f"length_{modality}" in arrays and x.ndim == 2 and x.dtype.kind in "iu"


def read_ids(path: Path, modality: str, x: Array, lengths: Array, present: Array | None) -> Array:
    """Ids (N, T) -> (N, T, 1) int64, 0 after the end of each sample and where the modality is absent.

    lengths: (N,) the real steps. present: (N,) bool. UserError that names the rows of ids below 0 or too large.
    """
    real = np.arange(x.shape[1]) < lengths[:, None]
    if present is not None:
        real &= present[:, None]
    ids = np.where(real, x, 0)
    bad = np.asarray(((ids < 0) | (ids >= MOST)).any(1))
    if bad.any():
        raise UserError(
            f"'{path}': 'x_{modality}' holds ids of words (whole numbers (N, T) beside 'length_{modality}'), but they "
            f"are below 0, or {MOST:,} or more, at {rows_in_words(bad)}. Number the words from 1 on."
        )
    return ids.astype(np.int64)[..., None]


def vocabulary(x: Array) -> int:
    """The number of ids of values (N, T, 1), from 0 to the largest; 0 for values that are not ids.

    >>> vocabulary(np.array([[[3], [0]]])), vocabulary(np.zeros((1, 2, 1), np.float32))
    (4, 0)
    """
    return int(x.max()) + 1 if x.dtype.kind == "i" else 0


def ids_notes(values: Mapping[str, Array], part: Array) -> Iterator[str]:
    """How each modality of ids is read, and how many of its ids no training sample has. part: (N,) text."""
    for m, x in values.items():
        if vocabulary(x):
            every, trained = np.unique(x), np.unique(x[part == "train"])
            unseen = len(np.setdiff1d(every, [*trained, 0]))
            untold = (
                f"; {unseen:,} of them are in no training sample, so that nothing is learned of them" if unseen else ""
            )
            yield f"'x_{m}' is read as ids of words, up to {int(x.max()):,}, where 0 stands for no word{untold}"
