"""The small data for tests of methods have targets of every kind, which can be learned from their inputs."""

import pytest
import torch

from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import make_fit, step, tiny_split
from mcr_bench.methods.joint import Joint

TASKS = {
    "two classes": Task(2),
    "classes": Task(7),
    "labels": Task(None, labels=2),
    "many labels": Task(None, labels=9),
    "score": Task(None),
    "scores": Task(None, scores=4),
}
EVERY = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


@EVERY
def test_targets_are_those_of_the_task(task: Task) -> None:
    split = tiny_split(task=task)
    several = task.labels or task.scores
    assert split.target.shape == ((24, several) if several else (24,))
    assert split.target.is_floating_point() == (task.classes is None)
    assert (split.target.float().var(0) > 0).all()
    if task.multi_label:
        assert set(split.target.unique().tolist()) == {0.0, 1.0}


@EVERY
def test_they_can_be_learned(task: Task) -> None:
    method = Joint()
    fit = make_fit(method, task=task, optimizer__lr=0.05)
    losses = []
    for steps in (1, 60):
        for _ in range(steps):
            step(method)
        logits = fit.model(fit.train.batch(torch.arange(len(fit.train))).inputs).logits
        losses.append(float(fit.task.loss(logits, fit.train.target).detach()))
    assert losses[1] < 0.8 * losses[0]
