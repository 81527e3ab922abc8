"""What `Task` offers for each kind of target: values by hand and by scipy, slopes by finite differences, extremes."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import expit, softmax
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.task import Task, Unit, Units

KINDS = {
    "classes": Task(4),
    "two classes": Task(2),
    "labels": Task(None, labels=3),
    "score": Task(None),
    "scores": Task(None, scores=3),
}
EVERY = pytest.mark.parametrize("task", KINDS.values(), ids=KINDS)


def drawn(task: Task, count: int = 7, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits (count, C) in float64 and targets of this task."""
    draws = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(count, task.outputs, generator=draws, dtype=torch.float64)
    if task.classes:
        return logits, torch.randint(task.classes, (count,), generator=draws)
    if task.multi_label:
        return logits, torch.randint(2, logits.shape, generator=draws).double()
    shape = logits.shape if task.scores else (count,)
    return logits, torch.randn(shape, generator=draws, dtype=torch.float64)


def numbers(x: Tensor) -> list[float]:
    return x.flatten().tolist()  # type: ignore[no-any-return]


@EVERY
def test_the_kinds_name_themselves(task: Task) -> None:
    kinds = [task.classes is not None, task.multi_label, task.regression]
    assert kinds.count(True) == 1
    assert task.outputs == (task.classes or task.labels or task.scores or 1)


@pytest.mark.parametrize(
    "wrong", [{"classes": 3, "labels": 2}, {"classes": None, "labels": 0}, {"classes": None, "scores": 2, "labels": 2}]
)
def test_a_task_is_of_one_kind(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="one positive number"):
        Task(**wrong)  # type: ignore[arg-type]


def test_losses_by_hand() -> None:
    two = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])  # probabilities 1/4, 3/4; 1/2, 1/2
    assert numbers(Task(2).per_sample(two, torch.tensor([0, 1]))) == pytest.approx([math.log(4), math.log(2)])
    right = torch.tensor([[1.0, 1.0], [0.0, 1.0]])  # probabilities of the right values: 1/2, 3/4; 1/2, 1/2
    values = [(math.log(2) + math.log(4 / 3)) / 2, math.log(2)]
    assert numbers(Task(None, labels=2).per_sample(two, right)) == pytest.approx(values)
    assert numbers(Task(None, labels=2).true_score(two, right)) == pytest.approx([5 / 8, 1 / 2])
    outputs, wanted = torch.tensor([[1.0, 5.0], [2.0, 2.0]]), torch.tensor([[0.0, 2.0], [2.0, 1.0]])
    assert numbers(Task(None, scores=2).per_sample(outputs, wanted)) == [2.0, 0.5]
    assert float(Task(None, scores=2).loss(outputs, wanted)) == 1.25
    assert numbers(Task(None).true_score(outputs[:, :1], torch.tensor([0.0, 2.0]))) == pytest.approx([math.exp(-1), 1])


@EVERY
def test_losses_as_numpy_computes_them(task: Task) -> None:
    logits, target = drawn(task)
    z, y = logits.numpy(), target.numpy()
    if task.classes:
        score = softmax(z, axis=1)[np.arange(len(y)), y]
        losses = -np.log(score)
    elif task.multi_label:
        p = np.where(y == 1, expit(z), 1 - expit(z))
        losses, score = -np.log(p).mean(1), p.mean(1)
    else:
        losses = np.abs(z - y.reshape(z.shape)).mean(1)
        score = np.exp(-losses)
    assert numbers(task.per_sample(logits, target)) == pytest.approx(losses.tolist(), rel=1e-12)
    assert numbers(task.true_score(logits, target)) == pytest.approx(score.tolist(), rel=1e-12)
    assert float(task.loss(logits, target)) == pytest.approx(losses.mean(), rel=1e-12)


@EVERY
def test_distances_as_scipy_computes_them(task: Task) -> None:
    (a, _), (b, _) = drawn(task), drawn(task, seed=1)
    x, y = a.numpy(), b.numpy()
    if task.classes:
        expected = jensenshannon(softmax(x, axis=1), softmax(y, axis=1), axis=1) ** 2
    elif task.multi_label:
        p, q = (np.stack([expit(z), 1 - expit(z)]) for z in (x, y))
        expected = (jensenshannon(p, q, axis=0) ** 2).mean(1)
    else:
        expected = np.abs(x - y).mean(1)
    assert numbers(task.distance(a, b)) == pytest.approx(expected.tolist(), rel=1e-9)
    torch.testing.assert_close(task.distance(b, a), task.distance(a, b))
    assert task.distance(a, a).abs().max() < 1e-15


@EVERY
def test_slopes_are_those_of_finite_differences(task: Task) -> None:
    (logits, target), (other, _) = drawn(task), drawn(task, seed=2)
    logits, other = logits.requires_grad_(), other.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: task.loss(z, target), logits)
    assert torch.autograd.gradcheck(lambda z: task.per_sample(z, target), logits)
    assert torch.autograd.gradcheck(lambda z: task.true_score(z, target), logits)
    assert torch.autograd.gradcheck(task.distance, (logits, other))
    if not task.regression or task.scores:
        assert torch.autograd.gradcheck(lambda z, o: task.combine([z, o], "probabilities"), (logits, other))


@EVERY
def test_saturated_outputs_give_finite_values_and_slopes(task: Task) -> None:
    logits, target = drawn(task)
    far = (1e4 * logits.float()).requires_grad_()
    for value in (task.loss(far, target), task.per_sample(far, target), task.distance(far, -far)):
        (slope,) = torch.autograd.grad(value.sum(), far)
        assert value.isfinite().all()
        assert slope.isfinite().all()
    score = task.true_score(far, target)
    assert ((score >= 0) & (score <= 1)).all()
    assert task.combine([far, -far], "probabilities").isfinite().all()
    if not task.regression:
        assert task.distance(far, -far).max() <= math.log(2) + 1e-6


@EVERY
def test_axes_before_the_batch_are_kept(task: Task) -> None:
    (a, target), (b, _) = drawn(task), drawn(task, seed=3)
    both = torch.stack([a, b])
    for one in (task.per_sample, task.true_score):
        assert torch.equal(one(both, target), torch.stack([one(a, target), one(b, target)]))
    assert torch.equal(task.prediction(both)[1], task.prediction(b))
    assert torch.equal(task.distance(both, b)[0], task.distance(a, b))


@EVERY
def test_low_precision_is_computed_in_full(task: Task) -> None:
    logits, target = drawn(task)
    low = logits.to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        values = task.loss(low, target), task.per_sample(low, target), task.distance(low, -low)
    exact = low.double()
    for value, wanted in zip(
        values, (task.loss(exact, target), task.per_sample(exact, target), task.distance(exact, -exact)), strict=True
    ):
        assert value.dtype in (torch.float32, torch.float64)
        torch.testing.assert_close(value.double(), wanted, rtol=1e-5, atol=1e-6)


def test_predictions() -> None:
    logits = torch.tensor([[0.3, -2.0], [-1.0, 0.0]])
    assert Task(2).prediction(logits).tolist() == [0, 1]
    assert Task(None, labels=2).prediction(logits).tolist() == [[1, 0], [0, 0]]  # one half is not above one half
    assert Task(None).prediction(logits[:, :1]).tolist() == pytest.approx([0.3, -1.0])
    assert torch.equal(Task(None, scores=2).prediction(logits), logits)


def test_models_are_combined_by_their_mean_probability() -> None:
    (a, _), (b, _) = drawn(KINDS["labels"]), drawn(KINDS["labels"], seed=4)
    mean = (torch.sigmoid(a) + torch.sigmoid(b)) / 2
    torch.testing.assert_close(torch.sigmoid(KINDS["labels"].combine([a, b], "probabilities")), mean)
    torch.testing.assert_close(KINDS["labels"].combine([a, b], "logits"), (a + b) / 2)
    torch.testing.assert_close(KINDS["scores"].combine([a, b], "probabilities"), (a + b) / 2)


def test_each_score_has_a_unit_of_its_own() -> None:
    train = torch.tensor([[3.0, 1000.0], [1.0, 3000.0]], dtype=torch.float64)
    task = Task(None, "standard", scores=2).fitted(train)
    assert task.unit == Units((Unit(2.0, 1.0), Unit(2000.0, -1000.0)))
    assert task.learned(train).tolist() == [[1.0, 1.0], [-1.0, -1.0]]
    assert torch.equal(task.user(task.learned(train)), train)
    assert task.unit.notes == {
        "target_mean_0": 2.0,
        "target_size_0": 1.0,
        "target_mean_1": 2000.0,
        "target_size_1": -1000.0,
    }
    assert Task(None, "none", scores=2).fitted(train) == Task(None, "none", scores=2)
    with pytest.raises(UserError, match="column 1 of the targets"):
        task.fitted(torch.tensor([[3.0, 5.0], [1.0, 5.0]]))


def test_labels_have_no_unit() -> None:
    target = torch.tensor([[1.0, 0.0]])
    task = Task(None, "standard", labels=2)
    assert task.fitted(target) == task
    assert task.learned(target) is target
    assert task.user(target) is target
