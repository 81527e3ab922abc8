"""Labels of a wrong shape, such as one-hot rows or an additional axis, each with the line that corrects it."""

from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError

ONE_EACH = ("classification", "sentiment")  # tasks with one target per sample


def check_axes(path: Path, y: Array, task: str) -> None:
    """UserError unless `y` has shape (N,), or (N, L) with several labels or scores per sample, as the task takes it.

    The error names what `y` seems to hold and the line that corrects it.

    path: the file that holds `y`, for the message.
    task: classification, regression, multi-label, sentiment, or auto.
    """
    if y.size == 0 or y.ndim == 0:
        raise UserError(f"'{path}': 'y' has shape {y.shape}. Give one label per sample, shape (N,).")
    if y.ndim == 1 and task == "multi-label":
        raise UserError(
            f"'{path}': 'y' has shape {y.shape}, but dataset.task=multi-label needs (N, L), 0 or 1 for each label. "
            "Set dataset.task=classification if a sample has one class."
        )
    if y.ndim > 1 and (reason := _wrong(y, task)):
        raise UserError(f"'{path}': 'y' has shape {y.shape}, {reason}")


def _wrong(y: Array, task: str) -> str:
    """Why `y` with several axes cannot be used, and the remedy; empty if it can."""
    if y.size == max(y.shape):
        return "expected (N,): one label per sample, with an additional axis. Save y = y.ravel()."
    if y.ndim > 2 or y.dtype.kind not in "biuf":
        return "expected (N,), or numbers (N, L): save one label per sample, or one column for each label or score."
    if task in ("auto", "classification"):
        one_class = _one_class(y)
        if one_class:
            return f"expected (N,): {one_class}{_otherwise(y) if task == 'auto' else ''}"
    return _one_each(y, task) if task in ONE_EACH else ""


def _one_class(y: Array) -> str:
    """How rows (N, C) that stand for one class each are saved as classes; empty if they do not."""
    if _is_one_hot(y):
        return "one-hot labels. Save y = y.argmax(1)."
    if _is_one_hot(y.T):
        return "one-hot labels, one column per sample. Save y = y.argmax(0)."
    if y.dtype.kind == "f" and (y >= 0).all() and np.allclose(y.sum(1), 1, atol=1e-3):
        return "probabilities of the classes. Save the most probable class: y = y.argmax(1)."
    return ""


def _otherwise(y: Array) -> str:
    if y.dtype.kind == "f" and not np.isin(y, (0, 1)).all():
        return " If they are scores to be predicted, set dataset.task=regression."
    return " If they are labels of which a sample may have several, set dataset.task=multi-label."


def _one_each(y: Array, task: str) -> str:
    """What to do with several targets per sample under a task that has one."""
    if task == "classification" and np.isin(y, (0, 1)).all():
        return (
            "expected (N,): several classes per sample, or none, but dataset.task=classification needs one. Set "
            "dataset.task=multi-label, or choose one column (y = y[:, 0] is class 0 against the rest)."
        )
    return f"expected (N,): several targets per sample, but dataset.task={task} needs one. Choose one: y = y[:, 0]."


def _is_one_hot(y: Array) -> bool:
    """Whether every row of (N, C) has one 1 and is 0 elsewhere."""
    return bool(np.isin(y, (0, 1)).all() and (y.sum(1) == 1).all())
