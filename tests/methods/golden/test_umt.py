"""UMT: the distance to the teachers' features, who they are, and when they teach."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, THREE, make_fit, step, whole_batch
from mcr_bench.methods.terms.distillation.teachers import Teachers, feature_distance
from mcr_bench.methods.umt import Umt
from mcr_bench.tests.methods.golden.teachers import Noisy, taught, unimodal_runs


def test_the_mean_square_over_samples_that_have_the_modality() -> None:
    student, teacher = torch.tensor([[1.0, 2.0], [5.0, 5.0]]), torch.tensor([[0.0, 4.0], [9.0, 9.0]])
    assert feature_distance(student, teacher) == (1 + 4 + 16 + 16) / 4
    assert feature_distance(student, teacher, torch.tensor([True, False])) == (1 + 4) / 2
    assert feature_distance(student, teacher, torch.tensor([False, False])) == 0


@pytest.mark.parametrize("task", [THREE, Task(None), Task(None, labels=3)], ids=["classes", "score", "labels"])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_loss_and_gradient(count: int, task: Task) -> None:
    names, method = NAMES[:count], Umt(weight=3.0)
    runs = unimodal_runs(names, task)
    fit = make_fit(method, names, task, dtype=torch.float64, dependencies=runs)
    fit.model.train()
    fit.epoch, batch = 1, fit.train.batch(torch.tensor([3, 17, 4, 9]))
    terms = method.loss(method.forward(batch), batch)
    targets, _ = taught(fit.model, runs, names, batch.inputs.values)
    outputs = fit.model(batch.inputs)
    expected = task.loss(outputs.logits, batch.target)
    for m in names:
        rows = [(outputs.features[m][i] - targets[m][i]).pow(2).sum() for i in range(4)]
        expected = expected + 3.0 * sum(rows) / (4 * fit.model.width)
    learned = [p for _, p, owner in fit.model.owned() if owner.role != "own_head"]
    found, plain = sum(terms.values()), expected
    torch.testing.assert_close(found, plain, rtol=1e-10, atol=0)
    gradients = [torch.autograd.grad(x, learned, retain_graph=True) for x in (found, plain)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


def test_the_student_starts_from_its_own_weights_and_the_teachers_stay() -> None:
    names, method = NAMES[:2], Umt()
    runs = unimodal_runs(names)
    fit = make_fit(method, names, dtype=torch.float64, dependencies=runs)
    start = dict(fit.model.state_dict())
    assert not torch.equal(start["encoders.audio.layers.2.weight"], runs[0]["encoders.audio.layers.2.weight"])
    before = taught(fit.model, runs, names, whole_batch(fit).inputs.values)
    for _ in range(3):
        step(method)
    torch.testing.assert_close(before, taught(fit.model, runs, names, whole_batch(fit).inputs.values))
    assert fit.model.state_dict().keys() == start.keys()  # no teacher in a checkpoint


@pytest.mark.parametrize("on_disk", [True, False])
def test_teachers_see_what_the_student_sees(on_disk: bool) -> None:
    """Samples in memory once, also where a batch is another one; those on disk as they are augmented in each step."""
    names = NAMES[:2]
    runs = unimodal_runs(names)
    method = Umt()
    fit = make_fit(method, names, dtype=torch.float64, dependencies=runs)
    passes: list[int] = []
    fit.model.watchers.append(lambda made: passes.append(len(made)))
    if on_disk:
        fit.train.values = {m: Noisy(x) for m, x in fit.train.values.items() if isinstance(x, Tensor)}
    teachers = Teachers(fit)
    for rows in ([1, 5, 2], [7, 0, 11]):
        batch = fit.train.training_batch(torch.tensor(rows))
        expected, logits = taught(fit.model, runs, names, batch.inputs.values)
        for m in names:
            features = teachers.features(m, batch)
            torch.testing.assert_close(features, expected[m])
            torch.testing.assert_close(teachers.logits(m, features), logits[m])
    assert sum(passes) == (2 * 2 * 3 if on_disk else 2 * 24)


def test_scores_of_teachers_are_those_of_the_samples_that_have_the_modality() -> None:
    names = NAMES[:3]
    runs = unimodal_runs(names)
    fit = make_fit(Umt(), names, dtype=torch.float64, dependencies=runs)
    fit.train.present = {"video": torch.arange(24) % 4 != 1}
    _, logits = taught(fit.model, runs, names, whole_batch(fit).inputs.values)
    found = Teachers(fit).mean_scores()
    for m in names:
        kept = [i for i in range(24) if m != "video" or i % 4 != 1]
        probabilities = [logits[m][i].softmax(0)[fit.train.target[i]] for i in kept]
        assert found[m] == pytest.approx(float(sum(probabilities) / len(kept)))


def test_they_teach_in_the_window_alone() -> None:
    runs = unimodal_runs(NAMES[:2])
    for method, epochs in ((Umt(start=2, end=3), [2, 3]), (Umt(start=3), [3, 4])):
        fit = make_fit(method, dtype=torch.float64, dependencies=runs)
        batch, taught_in = whole_batch(fit), []
        for fit.epoch in range(1, 5):
            if "features/audio" in method.loss(method.forward(batch), batch):
                taught_in.append(fit.epoch)
        assert taught_in == epochs
    with pytest.raises(UserError, match="comes after"):
        Umt(start=3, end=2)


def test_absent_samples_are_not_taught() -> None:
    method, runs = Umt(), unimodal_runs(NAMES[:2])
    fit = make_fit(method, dtype=torch.float64, dependencies=runs)
    batch = whole_batch(fit)
    has = torch.arange(24) % 3 != 0
    lacking = replace(batch, inputs=replace(batch.inputs, present={"audio": has}))
    some = fit.train.batch(torch.arange(24)[has])
    fit.epoch = 1
    found, expected = (method.loss(method.forward(one), one)["features/audio"] for one in (lacking, some))
    torch.testing.assert_close(found, expected)


def test_a_missing_run_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="2 unimodal runs are needed, 1 were given"):
        make_fit(Umt(), dependencies=unimodal_runs(NAMES[:1]))
