"""Labels of a wrong shape, such as one-hot rows or several labels per sample, each with the line that corrects it."""

from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError


def check_axes(path: Path, y: Array) -> None:
    """UserError unless `y` has shape (N,); it names what `y` seems to hold and the line that makes one label of each.

    path: the file that holds `y`, for the message.
    """
    if y.ndim == 1 and y.size:
        return
    if y.size == 0 or y.ndim == 0:
        raise UserError(f"'{path}': 'y' has shape {y.shape}. Give one label per sample, shape (N,).")
    raise UserError(f"'{path}': 'y' has shape {y.shape}, expected (N,): {_what(y)}")


def _what(y: Array) -> str:
    if y.size == max(y.shape):
        return "one label per sample, with an additional axis. Save y = y.ravel()."
    if y.ndim > 2 or y.dtype.kind not in "biuf":
        return "several labels per sample, which is not available. Save one label per sample."
    if _is_one_hot(y):
        return "one-hot labels. Save y = y.argmax(1)."
    if _is_one_hot(y.T):
        return "one-hot labels, one column per sample. Save y = y.argmax(0)."
    if np.isin(y, (0, 1)).all():
        return (
            "several classes per sample, or none (multi-label), which is not available: a sample has one class. "
            "Choose one column (y = y[:, 0] is class 0 against the rest), or make one class of each combination."
        )
    if y.dtype.kind == "f" and (y >= 0).all() and np.allclose(y.sum(1), 1, atol=1e-3):
        return "probabilities of the classes. Save the most probable class: y = y.argmax(1)."
    return "several targets per sample, which is not available. Choose one: y = y[:, 0]."


def _is_one_hot(y: Array) -> bool:
    """Whether every row of (N, C) has one 1 and is 0 elsewhere."""
    return bool(np.isin(y, (0, 1)).all() and (y.sum(1) == 1).all())
