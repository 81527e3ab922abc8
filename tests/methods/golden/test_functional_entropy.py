"""Functional Fisher information by finite differences of the loss of noisy copies, value by value."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.problem.facts import Facts, Modality
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, THREE, make_fit
from mcr_bench.datasets.base import Batch, Inputs
from mcr_bench.methods.functional_entropy import FunctionalEntropy, insensitivity, soft_entropy
from mcr_bench.methods.terms.features.noise import noisy, repeated

DOUBLE = {"dtype": torch.float64, "optimizer__name": "sgd"}
TASKS = {"classes": THREE, "labels": Task(None, labels=3)}
ROWS, DRAWS = torch.tensor([3, 17, 4, 9]), 2
Points = dict[str, Tensor]


def plain_loss(logits: Tensor, truth: Tensor, task: Task) -> Tensor:
    """The mean over samples, and over labels, of - sum p log q."""
    if task.multi_label:
        p, q = truth.sigmoid(), logits.sigmoid()
        return -(p * q.log() + (1 - p) * (1 - q).log()).mean()
    return -(truth.softmax(1) * logits.log_softmax(1)).sum(1).mean()


class Noise:
    """The noisy copies of a batch, and what the model makes of them, without the code under test."""

    def __init__(self, fit: Fit, batch: Batch, level: str) -> None:
        self.fit, self.level = fit, level
        sources = batch.inputs.values if level == "input" else fit.model.encode(batch.inputs)
        self.points: Points = {}
        for m, x in sources.items():
            drawn = torch.randn(DRAWS * len(x), x.shape[1], dtype=x.dtype, generator=fit.generator("noise", m))
            self.points[m] = torch.cat([x] * DRAWS) + drawn * x.detach().std(0, correction=0)
        self.truth = torch.cat([fit.model(batch.inputs).logits.detach()] * DRAWS)

    def loss(self, points: Points) -> Tensor:
        model = self.fit.model
        outputs = model(Inputs(points)) if self.level == "input" else model.fuse(points)
        return plain_loss(outputs.logits, self.truth, self.fit.task)


def ready(count: int, task: Task = THREE, **settings: object) -> tuple[FunctionalEntropy, Fit, Batch]:
    method = FunctionalEntropy(draws=DRAWS, **settings)
    fit = make_fit(method, NAMES[:count], task, fusion="concat-mlp", **DOUBLE)
    fit.epoch, fit.step = 2, 7
    return method, fit, fit.train.batch(ROWS)


@pytest.mark.parametrize("level", ["input", "feature"])
def test_predictions_that_noise_does_not_change_have_no_information_and_finite_gradients(level: str) -> None:
    """One sample has no noise, as values do not vary over its batch; certain, its loss and slopes are exactly 0."""
    method, fit, _ = ready(2, level=level)
    for encoder in fit.model.encoders.values():
        encoder.register_forward_hook(lambda _module, _inputs, features: features * 1e7)
    batch = fit.train.batch(ROWS[:1])
    outputs = method.forward(batch)
    assert method.information(outputs, batch).tolist() == [0.0, 0.0]
    torch.stack(list(method.loss(outputs, batch).values())).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in fit.model.parameters())


@pytest.mark.parametrize("level", ["input", "feature"])
@pytest.mark.parametrize(("count", "task"), [(2, "classes"), (3, "labels")])
def test_information_by_finite_differences(count: int, task: str, level: str) -> None:
    method, fit, batch = ready(count, TASKS[task], level=level)
    noise = Noise(fit, batch, level)
    points, h, expected = {m: x.detach() for m, x in noise.points.items()}, 1e-5, []
    with torch.no_grad():
        whole = noise.loss(points).item()
        for m, x in points.items():
            squares = 0.0
            for i in range(x.numel()):
                step = torch.zeros_like(x).flatten()
                step[i] = h
                up, down = (noise.loss(points | {m: x + s * step.reshape(x.shape)}).item() for s in (1, -1))
                squares += ((up - down) / (2 * h)) ** 2
            expected.append(squares / len(x) / whole)
    found = method.information(method.forward(batch), batch)
    assert found.tolist() == pytest.approx(expected, rel=1e-5)
    undivided = FunctionalEntropy(draws=DRAWS, level=level, fisher=False)
    undivided.fit = fit
    assert undivided.information(method.forward(batch), batch).tolist() == pytest.approx(
        [x * whole for x in expected], rel=1e-5
    )


@pytest.mark.parametrize("level", ["input", "feature"])
@pytest.mark.parametrize("count", [2, 3])
def test_the_term_and_its_gradient(count: int, level: str) -> None:
    method, fit, batch = ready(count, weight=1e-3, level=level)
    noise = Noise(fit, batch, level)
    points = {m: x if x.requires_grad else x.requires_grad_() for m, x in noise.points.items()}
    loss = noise.loss(points)
    slopes = torch.autograd.grad(loss, list(points.values()), create_graph=True)
    inverse = torch.stack([loss / g.pow(2).sum(1).mean() for g in slopes])
    expected = 1e-3 * inverse.pow(2).sum().sqrt()
    found = method.loss(method.forward(batch), batch)["insensitivity"]
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    learned = [p for _, p, owner in fit.model.owned() if owner.role != "own_head"]
    mine, theirs = (torch.autograd.grad(x, learned, allow_unused=True) for x in (found, expected))
    for a, b in zip(mine, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12 * expected.item())


def test_terms_by_hand() -> None:
    assert insensitivity(torch.tensor([0.5, 0.25, 0.25])).item() == pytest.approx(6.0)  # (4 + 16 + 16)^(1/2)
    assert insensitivity(torch.tensor([0.0, 1.0])).isfinite()
    truth = torch.tensor([[0.0, torch.tensor(3.0).log()]])  # 1/4 and 3/4
    logits = torch.tensor([[0.0, 0.0]], requires_grad=True)
    assert soft_entropy(logits, truth.requires_grad_(), Task(2)).item() == pytest.approx(0.6931472)
    soft_entropy(logits, truth, Task(2)).backward()
    assert truth.grad is None
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor([[0.25, -0.25]]))


@pytest.mark.parametrize("count", [2, 3])
def test_only_samples_that_have_the_modality_count(count: int) -> None:
    """What stands in for the absent ones changes nothing of that modality's noise and of whom the mean is over."""
    method, fit, batch = ready(count)
    has, m = torch.tensor([True, False, True, True]), NAMES[0]
    lacking = replace(batch, inputs=replace(batch.inputs, present={m: has}))
    x = batch.inputs.values[m]
    made = noisy(x, DRAWS, fit.generator("noise", m), has)
    drawn = torch.randn(DRAWS * 4, x.shape[1], dtype=x.dtype, generator=fit.generator("noise", m))
    expected = torch.cat([x] * DRAWS) + drawn * x[has].std(0, correction=0) * torch.cat([has] * DRAWS)[:, None]
    torch.testing.assert_close(made.detach(), expected)
    noise = Noise(fit, batch, "input")
    points = {n: p.detach().requires_grad_() for n, p in (noise.points | {m: expected}).items()}
    loss = noise.loss(points)
    slopes = dict(zip(points, torch.autograd.grad(loss, list(points.values())), strict=True))
    kept = slopes[m][torch.cat([has] * DRAWS)]
    found = method.information(method.forward(lacking), lacking)
    assert found[0].item() == pytest.approx((kept.pow(2).sum(1).mean() / loss).item(), rel=1e-9)


@pytest.mark.parametrize("level", ["input", "feature"])
@pytest.mark.parametrize("count", [2, 3])
def test_a_modality_that_no_sample_of_the_batch_has_is_left_out_of_the_norm(count: int, level: str) -> None:
    """Its information is 0, which would be an insensitivity of 1e16 in which the others do not show."""
    method, fit, batch = ready(count, level=level, weight=0.3)
    nobody = torch.zeros(len(ROWS), dtype=torch.bool)
    absent = replace(batch, inputs=replace(batch.inputs, present={NAMES[1]: nobody}))
    for lacking in (absent, replace(batch, dropped={NAMES[1]: ~nobody})):
        outputs = method.forward(lacking)
        information = method.information(outputs, lacking)
        others = [x.item() for x, m in zip(information, NAMES[:count], strict=True) if m != NAMES[1]]
        term = method.loss(outputs, lacking)["insensitivity"]
        assert term.item() == pytest.approx(0.3 * sum(x**-2 for x in others) ** 0.5, rel=1e-9)
        slopes = torch.autograd.grad(term, list(fit.model.fusion.parameters()), allow_unused=True)
        made = [x for x in slopes if x is not None]
        assert all(x.isfinite().all() for x in made)
        assert any(x.abs().max() > 0 for x in made)


def test_padding_gets_no_noise_and_copies_follow_the_samples() -> None:
    x, lengths = torch.randn(2, 3, 1, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 3])
    inputs = repeated(Inputs({"a": x}, {"a": lengths}), 2)
    assert inputs.lengths["a"].tolist() == [1, 3, 1, 3]
    moved = (noisy(x, 2, torch.Generator().manual_seed(1), lengths=lengths) - inputs.values["a"]) != 0
    # at the second and third step one sample counts, which has no deviation from itself
    assert moved[..., 0].tolist() == [[True, False, False], [True, False, False]] * 2
    both = (noisy(x, 1, torch.Generator().manual_seed(1), lengths=torch.tensor([2, 3])) - x) != 0
    assert both[..., 0].tolist() == [[True, True, False], [True, True, False]]


def test_where_it_is_not_defined() -> None:
    facts = Facts({m: Modality((5,)) for m in NAMES[:2]}, Task(None))
    assert "not for scores" in (FunctionalEntropy().skip(facts) or "")
    with pytest.raises(UserError, match="level=feature needs a head that reads features alone"):
        make_fit(FunctionalEntropy(level="feature"), fusion="bottleneck-tokens")
