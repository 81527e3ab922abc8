"""Features of an array file that look wrong. They are reported before training and are never an error.

The limits below are our choice.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mcr_bench.bench.core.arrays import Array

if TYPE_CHECKING:
    from mcr_bench.datasets.contents.table import Table

CHANNELS = (1, 3, 4)  # of grey images, colour images, and colour images with alpha
SMALLEST_SIDE = 8  # pixels: smaller arrays are rarely images
LARGE = 256  # whole numbers of this size are rarely pixels or small counts
FEW_STEPS = 256  # steps of float32 between the smallest and the largest number of a column, below which it is coarse
EMPTY_SHARE = 0.05  # share of samples that are all zeros, from which on it is reported
COLUMNS = 20_000  # wider vectors are not searched for the label, because they are rarely tables


def findings_of(table: "Table") -> list[str]:
    """One line per finding in a file of samples.

    Reported are constant or empty modalities, numbers that float32 hardly tells apart, images with channels last,
    numbers that may be ids, columns that equal the target or count the samples, and modalities that are equal.
    """
    return [*(line for m in table.values for line in _of_one(table, m)), *_twins(table)]


def _of_one(table: "Table", m: str) -> Iterator[str]:
    x, key = table.having(m, table.values[m]), f"x_{m}"
    trained = x[table.having(m, table.part) == "train"]
    if not len(trained):
        return  # an error tells it
    if trained.ndim <= 3:
        yield from _coarse_columns(key, trained)
    if trained.min() == trained.max():
        yield f"'{key}' is {trained.flat[0]:g} in every training sample: it carries no information"
        return
    yield from _constant_columns(key, trained)
    yield from _empty_samples(key, x)
    yield from _channels_last(key, x)
    if m not in table.lengths:
        yield from _grey_images(key, x)
    if x.ndim == 2:
        yield from _telling_columns(table.having(m, table.target), key, x)
        yield from _may_be_ids(key, x)


def _coarse_columns(key: str, trained: Array) -> Iterator[str]:
    """Numbers as float32 that are large beside their differences, such as times in seconds since 1970."""
    columns = trained.reshape(-1, trained.shape[-1])
    low, high = columns.min(0), columns.max(0)
    step = np.spacing(np.maximum(np.abs(low), np.abs(high)))
    coarse = (step > 1) & (high - low < FEW_STEPS * step)
    if coarse.any():
        at = int(np.flatnonzero(coarse)[0])
        yield (
            f"column {at} of '{key}' has numbers such as {high[at]:.10g}, which float32 holds in steps of "
            f"{step[at]:g}: subtract the smallest"
        )


def _constant_columns(key: str, trained: Array) -> Iterator[str]:
    """Vectors often have a few constant columns; if most columns are constant, the wrong part was saved."""
    if trained.ndim == 2 and trained.shape[1] > 1:
        constant = int((trained.min(0) == trained.max(0)).sum())
        if 2 * constant > trained.shape[1]:
            yield f"{constant} of {trained.shape[1]} columns of '{key}' are the same in every training sample"


def _empty_samples(key: str, x: Array) -> Iterator[str]:
    if x[0].size > 1:
        empty = int((~x.reshape(len(x), -1).any(1)).sum())
        if empty >= max(1, EMPTY_SHARE * len(x)):
            yield f"{empty} of {len(x)} samples of '{key}' are all zeros, as if the modality were missing"


def _channels_last(key: str, x: Array) -> Iterator[str]:
    """Images (N, H, W, C) or clips (N, T, H, W, C), which are read as (N, C, H, W) or (N, T, C, H, W)."""
    if x.ndim < 4:
        return
    first, channels = x.shape[-3], x.shape[-1]
    if channels in CHANNELS and first not in CHANNELS and min(x.shape[-3:-1]) >= SMALLEST_SIDE:
        frames = " of each frame" if x.ndim == 5 else ""
        yield (
            f"'{key}' {x.shape[1:]} looks like images with the channels last and is read as {first} channels{frames}: "
            f"save np.moveaxis({key}, -1, -3)"
        )


def _grey_images(key: str, x: Array) -> Iterator[str]:
    """Square arrays (N, H, H) of whole numbers from 0 to 255, which are read as sequences."""
    square = x.ndim == 3 and x.shape[1] == x.shape[2] >= SMALLEST_SIDE
    if square and x.min() >= 0 and x.max() < LARGE and (x == np.floor(x)).all():
        yield (
            f"'{key}' {x.shape[1:]} is read as a sequence of {x.shape[1]} steps; if these are grey images, save "
            f"{key}[:, None]"
        )


def _telling_columns(labels: Array, key: str, x: Array) -> Iterator[str]:
    """A column that equals the target reveals it; a column that counts the samples reveals it if they are sorted."""
    if x.shape[1] > COLUMNS:
        return
    for name, wanted in _telling(labels.astype(np.float32)):
        for column in np.flatnonzero((x == wanted[:, None]).all(0)):
            yield f"column {column} of '{key}' is {name}: the label is among the features"
    if len(x) > 2:
        for column in np.flatnonzero((np.diff(x, axis=0) == 1).all(0)):
            yield f"column {column} of '{key}' counts the samples (a row number?): it reveals their order"


def _telling(target: Array) -> list[tuple[str, Array]]:
    """What a column (N,) may equal that reveals a target (N,), or one column of a target (N, L), with its name."""
    if target.ndim == 1:
        return [("y", target), ("y + 1", target + 1)]
    return [(f"y[:, {k}]", column) for k, column in enumerate(target.T)]


def _may_be_ids(key: str, x: Array) -> Iterator[str]:
    """Whole numbers that are large, or a single column of them: they may number words, categories or names.

    -1 often stands for no word.
    """
    if (x < -1).any() or not (x == np.floor(x)).all() or (x.shape[1] > 1 and x.max() < LARGE):
        return
    if len(np.unique(x)) > 2:
        what = "a vector of 1 number" if x.shape[1] == 1 else f"a vector of {x.shape[1]} numbers"
        lengths = key.replace("x_", "length_", 1)
        words = f"; if of words, save their numbers beside them, as '{lengths}' (N,)" if x.shape[1] > 1 else ""
        yield (
            f"'{key}' holds whole numbers up to {x.max():.0f} and is read as {what}; if they are ids (words, "
            f"categories), save embeddings or one-hot vectors of them instead{words}"
        )


def _twins(table: "Table") -> Iterator[str]:
    names = list(table.values)
    for at, first in enumerate(names):
        for second in names[at + 1 :]:
            both = table.present.get(first, True) & table.present.get(second, np.ones(len(table.ids), bool))
            if both.any() and np.array_equal(table.values[first][both], table.values[second][both]):
                yield f"'x_{first}' and 'x_{second}' are equal: one modality under two names"
