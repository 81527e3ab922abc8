"""LFM's released rules: a fitted polynomial, one layer's entries in place of a slope, and KL from the mean."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, whole_batch
from mcr_bench.bench.testing.trials.epochs import train_at
from mcr_bench.methods.lfm import Lfm
from mcr_bench.methods.terms.objectives.agreement import disagreement
from mcr_bench.methods.terms.objectives.alignment_weight import released_weight
from mcr_bench.tests.methods.golden.test_lfm import plain

DOUBLE = {"dtype": torch.float64, "batch_size": 8, "clip_norm": 0.0}


def polynomial(epoch: int) -> float:
    """a_1 = 1 - a_0 of the released coefficients of a_0, by Horner's rule; the epoch counts from 0."""
    value = 0.0
    for c in (-5.39717505e-11, 2.23835486e-08, -2.92947416e-06, 1.22989557e-04, 3.35472727e-03, 2.04623704e-01):
        value = value * epoch + c
    return 1 - value


def own_logits(fit: Fit, index: Tensor) -> Tensor:
    """(M, B, C), by the layers."""
    model, batch = fit.model, fit.train.batch(index)
    features = {m: model.encoders[m](batch.inputs.values[m], None) for m in model.modalities}
    return torch.stack([f @ model.own_heads[m].weight.T + model.own_heads[m].bias for m, f in features.items()])


def from_the_mean(logits: Tensor) -> Tensor:
    """mean_m KL(q || p_m), as a mean over samples: what F.kl_div(log p, q) gives."""
    p = logits.softmax(-1)
    q = p.mean(0)
    return torch.stack([torch.nn.functional.kl_div(one.log(), q, reduction="batchmean") for one in p]).mean()


def gradient(fit: Fit, loss: Tensor) -> Tensor:
    at = [p for p in fit.model.parameters() if p.requires_grad]
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, at, materialize_grads=True)])


def of_method(method: Lfm, names: tuple[str, ...], epoch: int) -> Tensor:
    fit = make_fit(method, names, **DOUBLE)
    fit.epoch, batch = epoch, whole_batch(fit)
    return gradient(fit, torch.stack(list(method.loss(method.forward(batch), batch).values())).sum())


def released(names: tuple[str, ...], aligned: Callable[[Tensor], Tensor], a: float) -> Tensor:
    fit = make_fit(Lfm(), names, **DOUBLE)
    index = torch.arange(len(fit.train))
    logits = own_logits(fit, index)
    fused = torch.nn.functional.cross_entropy(logits.mean(0), fit.train.target)
    return gradient(fit, 2 * ((1 - a) * fused + a * aligned(logits)))


def apart(one: Tensor, other: Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("epoch", [1, 41])
def test_official_is_the_released_rule_and_paper_is_not(count: int, epoch: int) -> None:
    names = NAMES[:count]
    rule = released(names, from_the_mean, polynomial(epoch - 1))
    assert apart(of_method(Lfm(variant="official"), names, epoch), rule) < 1e-9
    assert apart(of_method(Lfm(), names, epoch), rule) > 1e-3


@pytest.mark.parametrize("count", [2, 3])
def test_each_defect_alone_moves_the_gradient(count: int) -> None:
    names = NAMES[:count]
    paper = of_method(Lfm(), names, 1)
    reversed_only = released(names, from_the_mean, 0.95)
    fitted_only = released(names, lambda logits: disagreement(logits, Task(3)).mean(), polynomial(0))
    assert apart(paper, reversed_only) > 1e-3
    assert apart(paper, fitted_only) > 1e-3


@pytest.mark.parametrize("epoch", [0, 1, 77, 150, 199])
def test_the_polynomial(epoch: int) -> None:
    assert released_weight(epoch) == pytest.approx(polynomial(epoch), abs=1e-9)
    assert released_weight(0) == pytest.approx(0.7954, abs=1e-4)


def test_the_polynomial_ends_with_the_run_that_it_was_fitted_to() -> None:
    assert polynomial(400) > 100
    assert released_weight(400) == released_weight(199)


def test_with_the_polynomial_nothing_is_held_out_or_learned() -> None:
    method = Lfm(variant="official", rate=100.0)
    fit = make_fit(method)
    train_at(method, 1, 20)
    assert method.weight == pytest.approx(polynomial(19), abs=1e-9)
    assert method.epoch_batches(fit.epoch) is None


def entries_of_the_first_layer(fit: Fit, index: Tensor, a: float) -> float:
    """The mean over the first layer of the Hessian of (1 - a) CE + a D times grad CE, by central differences."""
    at = [p for p in fit.model.parameters() if p.requires_grad]
    vector = torch.autograd.grad(losses(fit, index, 0.0), at, materialize_grads=True)
    rows = []
    for sign in (1, -1):
        with torch.no_grad():
            for p, v in zip(at, vector, strict=True):
                p.add_(sign * 1e-5 * v)
        rows.append(torch.autograd.grad(losses(fit, index, a), at[0])[0])
        with torch.no_grad():
            for p, v in zip(at, vector, strict=True):
                p.sub_(sign * 1e-5 * v)
    return ((rows[0] - rows[1]) / 2e-5).mean().item()


def losses(fit: Fit, index: Tensor, a: float) -> Tensor:
    logits = own_logits(fit, index)
    fused = torch.nn.functional.cross_entropy(logits.mean(0), fit.train.target[index])
    return (1 - a) * fused + a * from_the_mean(logits)


@pytest.mark.parametrize("count", [2, 3])
def test_the_released_learner_takes_the_entries_of_one_layer(count: int) -> None:
    names = NAMES[:count]
    method, paper = Lfm(variant="official", fitted=False, start=0.7), Lfm(start=0.7)
    fit, _ = make_fit(method, names, **DOUBLE), make_fit(paper, names, **DOUBLE)
    trained = method.epoch_batches(1)
    assert trained is not None
    held = torch.randperm(24, generator=fit.generator("held out"))[:4]
    assert not torch.isin(held, trained.order).any()
    expected = entries_of_the_first_layer(fit, held[:2], 0.7)
    assert method.slope().item() == pytest.approx(expected, rel=1e-5)
    assert abs(paper.slope().item() - expected) > 1e-3 * abs(expected)


@pytest.mark.parametrize("count", [2, 3])
def test_the_defects_in_the_paper_s_rule_would_be_seen(count: int) -> None:
    logits = 2 * torch.randn(count, 6, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    expected = [plain([z[i].tolist() for z in logits], Task(3)) for i in range(6)]

    def require_divergence(backward: bool) -> None:
        assert disagreement(logits, Task(3), backward=backward).tolist() == pytest.approx(expected, rel=1e-9)

    require_divergence(backward=False)
    with pytest.raises(AssertionError):
        require_divergence(backward=True)
    assert disagreement(logits, Task(3), backward=True).mean().item() == pytest.approx(from_the_mean(logits).item())


def require_own_weight(method: Lfm) -> None:
    """The weight starts at `start`, whatever the epoch is."""
    fit = make_fit(method)
    for fit.epoch in (1, 30):
        assert method.weight == 0.4


def test_a_fitted_weight_in_the_paper_s_rule_would_be_seen() -> None:
    require_own_weight(Lfm(start=0.4))
    with pytest.raises(AssertionError):
        require_own_weight(Lfm(start=0.4, variant="official"))
