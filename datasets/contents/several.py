"""Several labels or scores per sample, `y` of shape (N, L), as people save them; others are refused with the remedy."""

from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.contents.words import rows_in_words, some_names

CHOOSE = "Choose: --set dataset.task=multi-label, or --set dataset.task=regression."


def read_several(path: Path, y: Array, names: tuple[str, ...], task: str) -> tuple[Array, tuple[str, ...], list[str]]:
    """The targets (N, L), 0 and 1 (int64) or scores (float64), the names of the labels, and notes on the reading.

    y: (N, L) numbers, L > 1, all finite. names: the file's `class_names`, empty if it has none.
    task: multi-label, regression, or auto: whole numbers and bools that are 0 or 1 are labels, other floats are scores,
        and what may be either is refused.
    """
    if task == "multi-label" or (task == "auto" and y.dtype.kind != "f"):
        return _labels(path, y, names, task)
    if task == "auto" and np.isin(y, (0, 1)).all():
        raise UserError(f"'{path}': 'y' {y.shape} holds 0 and 1 as floats, which may be labels or scores. {CHOOSE}")
    return _scores(path, y), (), ["class_names is not used: the targets are scores"] if names else []


def _labels(path: Path, y: Array, names: tuple[str, ...], task: str) -> tuple[Array, tuple[str, ...], list[str]]:
    bad = ~np.isin(y, (0, 1))
    if bad.any():
        scores = " For scores set dataset.task=regression." if task == "auto" else ""
        raise UserError(
            f"'{path}': 'y' {y.shape} is {y[bad][0]:g} at {_place(bad)}, but a label is 0 (a sample does not have it) "
            f"or 1 (it has it).{scores}"
        )
    if names and len(names) != y.shape[1]:
        raise UserError(
            f"'{path}': class_names has {len(names)} names, but 'y' {y.shape} has {y.shape[1]} labels. Give one name "
            "for each column of 'y'."
        )
    same = _constant(y)
    if same:
        shown = some_names([names[k] if names else str(k) for k in same], "label")
        raise UserError(
            f"'{path}': {shown} of 'y' {y.shape} has the same value in every sample: there is nothing to learn. Leave "
            f"it out: np.delete(y, {same}, axis=1), and the same names of class_names if the file has it."
        )
    empty = int((~y.astype(bool).any(1)).sum())
    notes = [f"{empty} of {len(y)} samples have no label"] if empty else []
    return y.astype(np.int64), names, notes


def _scores(path: Path, y: Array) -> Array:
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(y.astype(np.float32))
    if bad.any():
        raise UserError(f"'{path}': 'y' is too large for float32 at {_place(bad)}. Use a larger unit.")
    same = _constant(y)
    if same:
        raise UserError(
            f"'{path}': column {', '.join(map(str, same))} of 'y' {y.shape} has the same value in every sample: there "
            f"is nothing to learn. Leave it out: np.delete(y, {same}, axis=1)."
        )
    return y.astype(np.float64)


def _constant(y: Array) -> list[int]:
    """The columns of (N, L) that have one value."""
    return np.flatnonzero((y == y[0]).all(0)).tolist()


def _place(bad: Array) -> str:
    """The first rows of a mask (N, L) that hold a set entry, and the column of the first one."""
    return f"{rows_in_words(np.logical_or.reduce(bad, axis=1))} (column {int(np.argwhere(bad)[0, 1])})"
