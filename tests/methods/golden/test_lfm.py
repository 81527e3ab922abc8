"""LFM: the divergence by loops and closed forms, its loss, and the steps of its weight by other derivatives."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, tiny_split, whole_batch
from mcr_bench.bench.testing.trials.epochs import batches, begin_epoch, make_step, train, train_at
from mcr_bench.datasets.base import Batch, Inputs
from mcr_bench.methods.lfm import Lfm
from mcr_bench.methods.terms.modes import evaluation_mode, twice_differentiable
from mcr_bench.methods.terms.objectives.agreement import disagreement
from mcr_bench.methods.terms.objectives.hypergradient import product_with_hessian, slope_of_weight

COUNTS = [2, 3, 4]
Distribution = list[float]


def distributions(row: list[float], task: Task) -> list[Distribution]:
    """That over classes, or one for each label."""
    if task.multi_label:
        return [[1 / (1 + math.exp(-z)), 1 / (1 + math.exp(z))] for z in row]
    total = sum(math.exp(z) for z in row)
    return [[math.exp(z) / total for z in row]]


def divergence(ps: list[Distribution]) -> float:
    """mean_m KL(p_m || mean)."""
    mean = [sum(column) / len(ps) for column in zip(*ps, strict=True)]
    return sum(p[c] * math.log(p[c] / mean[c]) for p in ps for c in range(len(mean))) / len(ps)


def plain(rows: list[list[float]], task: Task) -> float:
    """How far the outputs of one sample, one row per modality, are apart."""
    if task.regression:
        pairs = [(a, b) for i, a in enumerate(rows) for b in rows[:i]]
        squares = [(x - y) ** 2 for a, b in pairs for x, y in zip(a, b, strict=True)]
        return sum(squares) / max(1, len(squares))
    of_each = zip(*[distributions(row, task) for row in rows], strict=True)
    values = [divergence(list(ps)) for ps in of_each]
    return sum(values) / len(values)


TASKS = [Task(4), Task(None), Task(None, scores=3), Task(None, labels=3)]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("task", TASKS, ids=["classes", "score", "scores", "labels"])
def test_the_distance_is_that_of_plain_loops(task: Task, count: int) -> None:
    draws = torch.Generator().manual_seed(count)
    logits = 2 * torch.randn(count, 5, task.outputs, generator=draws, dtype=torch.float64)
    having = torch.rand(count, 5, generator=draws) < 0.6
    having[0] = True
    for kept in (None, having):
        rows = [[z.tolist() for m, z in enumerate(logits[:, i]) if kept is None or kept[m, i]] for i in range(5)]
        expected = [plain(one, task) for one in rows]
        assert disagreement(logits, task, kept).tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("count", COUNTS)
def test_closed_forms_of_the_distance(count: int) -> None:
    certain = 60 * torch.eye(count, dtype=torch.float64)[:, None]  # each modality is sure of another class
    assert disagreement(certain, Task(count)).item() == pytest.approx(math.log(count))
    certain.mul_(100).requires_grad_()  # probabilities that are 0 in the type
    disagreement(certain, Task(count)).sum().backward()
    assert certain.grad is not None
    assert certain.grad.isfinite().all()
    nobody = torch.zeros(count, 1, dtype=torch.bool)
    assert disagreement(certain, Task(count), nobody).tolist() == [0.0]


@pytest.mark.parametrize("task", [Task(4), Task(None, labels=3)], ids=["classes", "labels"])
def test_two_modalities_have_the_distance_of_the_task(task: Task) -> None:
    logits = torch.randn(2, 6, task.outputs, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.allclose(disagreement(logits, task), task.distance(*logits), rtol=1e-12)


@pytest.mark.parametrize("products", [0, 1, 4])
def test_the_slope_is_that_of_gradient_descent_on_a_quadratic(products: int) -> None:
    draws = torch.Generator().manual_seed(7)
    root, b, c, d = (torch.randn(*shape, generator=draws, dtype=torch.float64) for shape in ((4, 4), (4,), (4,), (4,)))
    hessian, rate = root @ root.T, 0.05
    start = torch.randn(4, generator=draws, dtype=torch.float64)

    def after(a: float) -> float:
        """d w of the end of the descent on w H w / 2 + (b + a c) w; it is linear in a."""
        w = start.clone()
        for _ in range(products + 1):
            w = w - rate * (hessian @ w + b + a * c)
        return (d @ w).item()

    w = start.clone().requires_grad_()
    inner = w @ hessian @ w / 2 + (b + 0.3 * c) @ w
    slope = slope_of_weight(d @ w, inner, c @ w, [w], rate, products)
    assert slope.item() == pytest.approx((after(1.3) - after(-0.7)) / 2 / rate, rel=1e-9)


def test_a_loss_without_curvature_and_a_parameter_without_use() -> None:
    used, unused = torch.ones(3, requires_grad=True), torch.ones(2, requires_grad=True)
    at = [used, unused]
    assert [x.abs().sum().item() for x in product_with_hessian(used.sum(), at, at, at)] == [0.0, 0.0]
    assert slope_of_weight(2 * used.sum(), used.sum(), used.sum(), at, 0.1, products=2).item() == pytest.approx(-18)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("task", TASKS, ids=["classes", "score", "scores", "labels"])
def test_the_loss_and_its_gradient_in_the_logits(task: Task, count: int) -> None:
    method = Lfm(schedule="heuristic", decay=0.5)
    fit = make_fit(method, NAMES[:count], task, dtype=torch.float64)
    fit.epoch, a = 3, 1 - math.exp(-1)
    batch = whole_batch(fit)
    outputs = method.forward(batch)
    terms = method.loss(outputs, batch)
    own = list(outputs.own_logits.values())
    assert torch.allclose(outputs.logits, sum(own[1:], own[0]) / count)
    apart = [plain([z[i].tolist() for z in own], task) for i in range(len(batch.target))]
    assert terms["alignment"].item() == pytest.approx(2 * a * sum(apart) / len(apart), rel=1e-9)
    fused = 2 * (1 - a) * task.loss(outputs.logits, batch.target)
    assert terms["fused"].item() == pytest.approx(fused.item(), rel=1e-12)
    predicted = method.predict(fit.model, batch.inputs)
    assert torch.equal(predicted.logits, outputs.logits)


def test_an_absent_modality_counts_nowhere() -> None:
    method = Lfm(schedule="heuristic")
    fit = make_fit(method, NAMES[:3], dtype=torch.float64)
    fit.epoch, whole = 2, whole_batch(fit)
    has = torch.arange(len(whole.target)) % 3 > 0
    batch = Batch(Inputs(whole.inputs.values, present={"audio": has}), whole.target, whole.index)
    outputs = method.forward(batch)
    rows = [[z[i].tolist() for m, z in outputs.own_logits.items() if m != "audio" or has[i]] for i in range(len(has))]
    means = torch.tensor([[sum(c) / len(c) for c in zip(*one, strict=True)] for one in rows], dtype=torch.float64)
    assert torch.allclose(outputs.logits, means)
    expected = 2 * (1 - math.exp(-0.3)) * sum(plain(one, Task(3)) for one in rows) / len(rows)
    assert method.loss(outputs, batch)["alignment"].item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("schedule", ["heuristic", "falling"])
def test_the_weights_of_the_epochs(schedule: str) -> None:
    method = Lfm(schedule=schedule, decay=0.4)
    fit = make_fit(method)
    seen = []
    for fit.epoch in range(1, 12):
        faded = min(0.95, max(0.05, math.exp(-0.4 * (fit.epoch - 1))))
        assert method.weight == pytest.approx(faded if schedule == "falling" else 1 - faded)
        seen.append(method.weight)
    assert seen == sorted(seen, reverse=schedule == "falling")
    assert method.epoch_batches(3) is None


SGD = {"optimizer__name": "sgd", "optimizer__lr": 1e-6, "batch_size": 8, "dtype": torch.float64, "clip_norm": 0.0}
Weights = dict[str, Tensor]
Objective = Callable[[Weights], tuple[Tensor, Tensor]]


def objective(fit: Fit, index: Tensor) -> Objective:
    """Weights -> the loss of the mean prediction and the divergence, on these samples, by one modality at a time."""
    batch = fit.train.batch(index)

    def at(weights: Weights) -> tuple[Tensor, Tensor]:
        own = list(functional_call(fit.model, weights, (batch.inputs,)).features.items())
        logits = torch.stack([f @ weights[f"own_heads.{m}.weight"].T + weights[f"own_heads.{m}.bias"] for m, f in own])
        fused = fit.task.loss(logits.mean(0), batch.target)
        if fit.task.regression:
            return fused, logits.var(0).mean() * 2
        p = logits.softmax(-1)
        mean = p.mean(0)
        return fused, ((p * p.log()).sum(-1).mean(0) - (mean * mean.log()).sum(-1)).mean()

    return at


def descended(fit: Fit, inner: Objective, a: float, steps: int, lr: float) -> Weights:
    """The weights after steps of gradient descent on 2 ((1 - a) fused + a alignment)."""
    weights = {name: p.detach().clone().requires_grad_() for name, p in fit.model.named_parameters()}
    for _ in range(steps):
        fused, alignment = inner(weights)
        loss = 2 * ((1 - a) * fused + a * alignment)
        slopes = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
        weights = {
            name: (w - lr * g).detach().requires_grad_() for (name, w), g in zip(weights.items(), slopes, strict=True)
        }
    return weights


@pytest.mark.parametrize(("count", "products"), [(2, 0), (2, 1), (3, 2), (4, 1)])
@pytest.mark.parametrize("task", [Task(3), Task(None)], ids=["classes", "score"])
def test_the_weight_follows_the_slope_of_descent(task: Task, count: int, products: int) -> None:
    method = Lfm(start=0.6, rate=0.01, products=products, held_out=4)
    fit = make_fit(method, NAMES[:count], task, **SGD)
    fit.epoch = 1
    order = method.epoch_batches(1).order  # type: ignore[union-attr]
    held = torch.tensor(sorted({*range(24)} - {*order.tolist()}))
    assert len(held) == 4
    inner, outer = objective(fit, order[:8]), objective(fit, held)
    ends = [outer(descended(fit, inner, 0.6 + by, products + 1, 1e-6))[0].item() for by in (0.2, -0.2)]
    slope = (ends[0] - ends[1]) / 0.4 / 1e-6
    assert abs(slope) > 1e-3
    fit.epoch = 0
    begin_epoch(method)
    assert method.weight == pytest.approx(0.6 - 0.01 * slope, abs=0.01 * abs(slope) * 1e-3)


@pytest.mark.parametrize(("count", "products"), [(2, 1), (3, 3)])
def test_long_steps_are_turned_by_the_curvature(count: int, products: int) -> None:
    method = Lfm(start=0.6, products=products, held_out=4)
    fit = make_fit(method, NAMES[:count], **{**SGD, "optimizer__lr": 0.5})
    fit.epoch = 1
    order = method.epoch_batches(1).order  # type: ignore[union-attr]
    inner = objective(fit, order[:8])
    outer = objective(fit, torch.tensor(sorted({*range(24)} - {*order.tolist()})))
    start = {name: p.detach().clone() for name, p in fit.model.named_parameters()}

    def slopes(of: Callable[[Weights], Tensor], at: Weights) -> Tensor:
        weights = {name: w.clone().requires_grad_() for name, w in at.items()}
        return flat(torch.autograd.grad(of(weights), list(weights.values()), materialize_grads=True))

    def moved(by: Tensor) -> Weights:
        parts = by.split([w.numel() for w in start.values()])
        return {name: w + part.view_as(w) for (name, w), part in zip(start.items(), parts, strict=True)}

    def trained(weights: Weights) -> Tensor:
        fused, alignment = inner(weights)
        return 2 * (0.4 * fused + 0.6 * alignment)

    vector = total = slopes(lambda w: outer(w)[0], start)
    for _ in range(products):
        turned = (slopes(trained, moved(1e-5 * vector)) - slopes(trained, moved(-1e-5 * vector))) / 2e-5
        vector = vector - 0.5 * turned
        total = total + vector
    expected = -(2 * (slopes(lambda w: inner(w)[1], start) - slopes(lambda w: inner(w)[0], start)) @ total).item()
    assert method.slope().item() == pytest.approx(expected, rel=1e-5)
    assert method.slope().item() != pytest.approx(replaced(method).slope().item(), rel=1e-2)


def replaced(method: Lfm) -> Lfm:
    """The same run without Hessian-vector products."""
    other = Lfm(start=method.start, products=0, held_out=4)
    make_fit(other, tuple(method.fit.model.modalities), **{**SGD, "optimizer__lr": 0.5}).epoch = 1
    return other


def flat(parts: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([part.flatten() for part in parts])


def test_when_the_weight_moves_and_by_how_much() -> None:
    method = Lfm(start=0.5, rate=1e-3, every=2, halving=3)
    fit = make_fit(method, dtype=torch.float64)
    for epoch in range(1, 9):
        fit.epoch, before = epoch, method.weight
        slope = method.slope().item() if epoch % 2 else 0.0
        method.on_epoch_start()
        assert method.weight - before == pytest.approx(-1e-3 * 0.5 ** ((epoch - 1) // 3) * slope, rel=1e-9, abs=1e-15)
    for start, rate in ((0.06, 1e6), (0.94, 1e6)):
        method = Lfm(start=start, rate=rate)
        make_fit(method, dtype=torch.float64)
        train(method)
        assert method.weight in (0.05, 0.95)
    still = Lfm(rate=0.0)
    make_fit(still)
    assert train(still, 2).fit.epoch == 2
    assert still.weight == 0.95


def test_held_out_samples_are_never_trained_on_and_the_same_in_a_resumed_run() -> None:
    method, again = Lfm(rate=0.1), Lfm(rate=0.1)
    fit, other = make_fit(method, batch_size=8), make_fit(again, batch_size=8)
    seen = []
    for _ in range(3):
        begin_epoch(method)
        for batch in batches(method):
            make_step(method, batch)
            seen += batch.index.tolist()
    assert len(set(seen)) == 20  # of 24, a fifth held out, rounded down
    assert len(seen) == 60
    assert method.weight != 0.95
    again.load_state_dict(method.state_dict())
    assert again.weight == method.weight
    other.epoch = fit.epoch
    assert torch.equal(method.epoch_batches(3).order, again.epoch_batches(3).order)  # type: ignore[union-attr]


def test_so_few_samples_that_none_is_held_out() -> None:
    method = Lfm(rate=0.1)
    make_fit(method, data=tiny_split(n=4))
    train_at(method, 1, 2)
    assert method.weight == 0.95


def test_attention_has_second_derivatives_in_the_block() -> None:
    layer = torch.nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    at = list(layer.parameters())
    with evaluation_mode(layer), twice_differentiable(layer):
        loss = layer(torch.randn(2, 3, 4)).pow(4).mean()
        product = product_with_hessian(loss, [torch.ones_like(p) for p in at], at, at)
    assert torch.stack([x.abs().sum() for x in product]).sum().item() > 0


@pytest.mark.parametrize(("key", "value"), [("start", 0.99), ("every", 0), ("products", -1), ("schedule", "cosine")])
def test_values_that_are_not_allowed(key: str, value: object) -> None:
    with pytest.raises(UserError, match=key):
        build(Lfm, {key: value})


def test_a_parameter_that_the_loss_does_not_use_changes_no_slope_of_the_released_rule() -> None:
    """An encoder may hold weights that serve another task; the first of all parameters here."""

    class WithUnused(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.a_unused, self.inner = torch.nn.Parameter(torch.ones(3)), inner

        def forward(self, *given: Tensor) -> Tensor:
            made: Tensor = self.inner(*given)
            return made

    slopes = []
    for wrapped in (False, True):
        method = Lfm(variant="official", fitted=False)
        fit = make_fit(method)
        for m in fit.model.modalities if wrapped else ():
            fit.model.encoders[m] = WithUnused(fit.model.encoders[m])
        fit.epoch = 1
        slopes.append(float(method.slope()))
    assert slopes[1] == pytest.approx(slopes[0], rel=1e-5)
    assert slopes[0] != 0
