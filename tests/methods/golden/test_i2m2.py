"""I2M2 by the normalised product of the experts' distributions, each from its own run's weights."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, THREE, make_fit, step, whole_batch
from mcr_bench.methods.i2m2 import I2M2
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.terms.experts.product import product
from mcr_bench.tests.methods.golden.teachers import Weights, taught, unimodal_runs

DOUBLE = {"dtype": torch.float64, "optimizer__name": "sgd", "optimizer__lr": 0.1, "clip_norm": 0.0}


def joint_run(names: tuple[str, ...], task: Task, fusion: str) -> Weights:
    fit = make_fit(method := Joint(), names, task, fusion=fusion, seed=23, **DOUBLE)
    for _ in range(3):
        step(method)
    return {name: x.clone() for name, x in fit.model.state_dict().items()}


def ready(count: int, task: Task = THREE, fusion: str = "late-linear") -> tuple[I2M2, Fit, list[Weights]]:
    names, method = NAMES[:count], I2M2()
    runs = [*unimodal_runs(names, task), joint_run(names, task, fusion)]
    return method, make_fit(method, names, task, fusion=fusion, dependencies=runs, **DOUBLE), runs


def parts(fit: Fit, runs: list[Weights], fusion: str = "late-linear") -> tuple[Tensor, list[Tensor]]:
    """The logits of the joint run and of every unimodal one, from these runs' weights alone."""
    names, batch = tuple(fit.model.modalities), whole_batch(fit)
    other = make_fit(Joint(), names, fit.task, fusion=fusion, **DOUBLE)
    other.model.load_state_dict(runs[-1])
    _, alone = taught(fit.model, runs[:-1], names, batch.inputs.values)
    return other.model(batch.inputs).logits.detach(), list(alone.values())


@pytest.mark.parametrize(("count", "fusion"), [(2, "concat-mlp"), (3, "late-linear"), (4, "gated")])
def test_the_loss_is_that_of_the_normalised_product(count: int, fusion: str) -> None:
    method, fit, runs = ready(count, fusion=fusion)
    joint, alone = parts(fit, runs, fusion)
    batch = whole_batch(fit)
    expected = []
    for i, y in enumerate(batch.target.tolist()):
        worth = [1.0, 1.0, 1.0]
        for c, z in itertools.product(range(3), [joint, *alone]):
            worth[c] *= float(z[i].exp()[c] / z[i].exp().sum())
        expected.append(-torch.tensor(worth[y] / sum(worth), dtype=torch.float64).log())
    (term,) = method.loss(method.forward(batch), batch).values()
    assert term.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-10)


@pytest.mark.parametrize("count", [2, 3])
def test_the_gradient_is_that_of_normalised_log_probabilities(count: int) -> None:
    """As the paper writes it: log softmax of every expert, and the logarithm of their normaliser."""
    draw = torch.Generator().manual_seed(1)
    joint, experts = (torch.randn(*s, 5, 4, dtype=torch.float64, generator=draw) for s in ((), (count,)))
    target, found = torch.tensor([0, 3, 1, 1, 2]), []
    for ours in (True, False):
        leaves = [joint.clone().requires_grad_(), experts.clone().requires_grad_()]
        if ours:
            logs = product(*leaves, Task(4)).log_softmax(1)
        else:
            top = leaves[0].log_softmax(1) + sum(u.log_softmax(1) for u in leaves[1])
            logs = top - top.logsumexp(1, keepdim=True)
        (-logs[torch.arange(5), target].mean()).backward()
        found.append([x.grad for x in leaves])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("count", [2, 3])
def test_several_labels_are_products_of_each_label_s_two_probabilities(count: int) -> None:
    task = Task(None, labels=2)
    method, fit, runs = ready(count, task)
    joint, alone = parts(fit, runs)
    yes, no = torch.ones_like(joint), torch.ones_like(joint)
    for z in (joint, *alone):
        yes, no = yes * z.sigmoid(), no * (1 - z.sigmoid())
    torch.testing.assert_close(method.predict(fit.model, whole_batch(fit).inputs).logits.sigmoid(), yes / (yes + no))


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("task", [Task(None), Task(None, scores=2)], ids=["score", "scores"])
def test_scores_are_averaged(count: int, task: Task) -> None:
    method, fit, runs = ready(count, task)
    joint, alone = parts(fit, runs)
    expected = (joint + sum(alone)) / (count + 1)
    torch.testing.assert_close(method.predict(fit.model, whole_batch(fit).inputs).logits, expected)


@pytest.mark.parametrize("task", [THREE, Task(None)], ids=["classes", "score"])
def test_an_expert_whose_modality_is_absent_does_not_count(task: Task) -> None:
    method, fit, runs = ready(3, task)
    joint, alone = parts(fit, runs)
    batch = whole_batch(fit)
    has = torch.arange(24) % 3 != 0
    inputs = replace(batch.inputs, present={NAMES[1]: has})
    expected = joint + alone[0] + torch.where(has[:, None], alone[1], 0) + alone[2]
    if task.regression:
        expected = expected / torch.where(has, 4, 3)[:, None]
    for outputs in (method.predict(fit.model, inputs), method.forward(replace(batch, inputs=inputs))):
        torch.testing.assert_close(outputs.logits, expected)


def test_all_experts_learn_with_encoders_of_their_own() -> None:
    method, fit, _ = ready(2)
    before = {name: p.detach().clone() for name, p in fit.model.named_parameters()}
    step(method)
    still = {name for name, p in fit.model.named_parameters() if torch.equal(p, before[name])}
    assert still == {name for name in before if name.startswith("own_heads.")}  # those of the joint model


def test_the_runs_that_it_starts_from() -> None:
    needed = [(r.method, r.modalities) for r in I2M2().requires(("b", "a"))]
    assert needed == [("unimodal", ("b",)), ("unimodal", ("a",)), ("joint", ("b", "a"))]
    with pytest.raises(RuntimeError, match="a joint one are needed, not 2"):
        make_fit(I2M2(), dependencies=unimodal_runs(NAMES[:2]), **DOUBLE)
