"""Labels of a wrong shape: one-hot rows, columns, several labels of one sample; each with the line that helps."""

from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError


def check_axes(path: Path, y: Array) -> None:
    """UserError unless `y` is (N,): what it seems to be, and the line that makes one label per sample of it."""
    if y.ndim == 1 and y.size:
        return
    if y.size == 0 or y.ndim == 0:
        raise UserError(f"'{path}': 'y' has shape {y.shape}. Give one label per sample, shape (N,).")
    raise UserError(f"'{path}': 'y' has shape {y.shape}, expected (N,): {_what(y)}")


def _what(y: Array) -> str:
    if y.size == max(y.shape):
        return "one label per sample, with a further axis. Save y = y.ravel()."
    if y.ndim > 2 or y.dtype.kind not in "biuf":
        return "several labels of each sample, which is not available. Save one label per sample."
    if _is_one_hot(y):
        return "one-hot labels. Save y = y.argmax(1)."
    if _is_one_hot(y.T):
        return "one-hot labels, a column for each sample. Save y = y.argmax(0)."
    if np.isin(y, (0, 1)).all():
        return (
            "several classes of one sample, or none (multi-label), which is not available: a sample has one class. "
            "Choose one column (y = y[:, 0] is class 0 against the rest), or make one class of each combination."
        )
    if y.dtype.kind == "f" and (y >= 0).all() and np.allclose(y.sum(1), 1, atol=1e-3):
        return "probabilities of the classes. Save the most probable class: y = y.argmax(1)."
    return "several targets of each sample, which is not available. Choose one: y = y[:, 0]."


def _is_one_hot(y: Array) -> bool:
    """(N, C): one 1 in every row, the rest 0."""
    return bool(np.isin(y, (0, 1)).all() and (y.sum(1) == 1).all())
