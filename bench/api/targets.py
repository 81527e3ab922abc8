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

    values: whether classes are compared with their number, too, which waits for a GPU.
    """
    if not isinstance(target, Tensor):
        raise UserError(f"the targets are a {type(target).__name__}, not a tensor. Give torch.as_tensor(target).")
    if task.classes is not None:
        if target.dtype != torch.int64 or target.dim() != 1:
            raise _odd(target, "classes (B,) in int64", "target.argmax(1)", "target.long()")
        if values:
            _require_classes(target, task.classes)
    elif task.regression and (not target.is_floating_point() or target.dim() != (1 if task.scores is None else 2)):
        shape = "(B,)" if task.scores is None else f"(B, {task.scores})"
        raise _odd(target, f"scores {shape} in floats", f"targets {shape}", "target.float()")
    elif task.multi_label and target.dim() != 2:
        raise _odd(
            target, f"labels (B, {task.labels}) of 0 and 1", "a column for each label", "a column for each label"
        )
    if target.dim() == 2 and target.shape[1] != task.outputs:
        raise _odd(target, f"(B, {task.outputs})", "one column for each output", "")
    return target


def _require_classes(target: Tensor, classes: int) -> None:
    low, high = (int(target.min()), int(target.max())) if len(target) else (0, 0)
    if low < 0 or high >= classes:
        raise UserError(
            f"the targets go from {low} to {high}, but there are {classes} classes. Number them from 0 to "
            f"{classes - 1}, and leave out samples without a class."
        )


def _odd(target: Tensor, wanted: str, table: str, row: str) -> UserError:
    """table, row: the remedy for targets in several columns, and in none; of one column it is to drop that."""
    one_column = target.dim() == 2 and target.shape[1] == 1
    remedy = "target.squeeze(1)" if one_column else table if target.dim() > 1 else row
    kind = str(target.dtype).removeprefix("torch.")
    return UserError(f"the targets have shape {tuple(target.shape)} and type {kind}, not {wanted}. Give {remedy}.")
