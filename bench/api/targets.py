"""The targets that a training loop of one's own gives: in the shape and type of its task, or the remedy."""

import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.task import Task


def task_of(task: Task | int) -> Task:
    """What is learned; UserError for one class, of which nothing can be learned: its loss is always 0."""
    chosen = Task(task) if isinstance(task, int) else task
    if chosen.classes == 1:
        raise UserError(
            "one output is one class, of which nothing can be learned. Give task=mcr_bench.Task(None) for a score, or "
            "task=mcr_bench.Task(None, labels=1) for yes or no; or give the network one output for each class."
        )
    return chosen


def require_target(target: object, task: Task, values: bool) -> Tensor:
    """The targets of a batch, as `Task` has them; UserError where they have another type or shape.

    values: whether classes and labels are compared with what is allowed, too, which waits for a GPU.
    """
    if not isinstance(target, Tensor):
        raise UserError(f"the targets are a {type(target).__name__}, not a tensor. Give torch.as_tensor(target).")
    flat = task.classes is not None or (task.regression and task.scores is None)
    shaped = target.dim() == 1 if flat else target.dim() == 2 and target.shape[1] == task.outputs
    if not shaped or not _typed(target, task):
        kind = str(target.dtype).removeprefix("torch.")
        raise UserError(
            f"the targets have shape {tuple(target.shape)} and type {kind}, not {_wanted(task)}. Give "
            f"{_type_of(task) if shaped else _shape_of(target, task, flat)}."
        )
    if values and len(target):
        _require_values(target, task)
    return target


def _typed(target: Tensor, task: Task) -> bool:
    if task.classes is not None:
        return target.dtype == torch.int64
    return task.multi_label or target.is_floating_point()


def _wanted(task: Task) -> str:
    if task.classes is not None:
        return "classes (B,) in int64"
    if task.multi_label:
        return f"labels (B, {task.labels}) of 0 and 1"
    return "scores (B,) in floats" if task.scores is None else f"scores (B, {task.scores}) in floats"


def _type_of(task: Task) -> str:
    return "target.long()" if task.classes is not None else "target.float()"


def _shape_of(target: Tensor, task: Task, flat: bool) -> str:
    """The remedy for targets of another shape. flat: whether there is one number for each sample."""
    if flat and target.dim() == 2 and target.shape[1] == 1:
        return "target.squeeze(1)"
    if task.classes is not None and target.dim() == 2 and target.shape[1] == task.classes:
        return "target.argmax(1)"
    if not flat and task.outputs == 1 and target.dim() == 1:
        return "target[:, None]"
    return "one number for each sample" if flat else "a column for each output"


def _require_values(target: Tensor, task: Task) -> None:
    """UserError for classes that the task does not have, and labels other than 0 and 1."""
    if task.classes is not None:
        low, high = int(target.min()), int(target.max())
        if low < 0 or high >= task.classes:
            raise UserError(
                f"the targets go from {low} to {high}, but there are {task.classes} classes. Number them from 0 to "
                f"{task.classes - 1}, and leave out samples without a class."
            )
    if task.multi_label and not bool(((target == 0) | (target == 1)).all()):
        raise UserError(
            "the targets of labels hold other values than 0 and 1. Give 1 for each label of a sample, else 0."
        )
