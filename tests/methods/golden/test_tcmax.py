"""TCMax against the sum over every combination of samples, sample by sample."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.testing.fits import NAMES, make_fit, step
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.tcmax import TCMax, mixed_term

DOUBLE = {"dtype": torch.float64, "optimizer__name": "sgd"}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def every_combination(shares: list[Tensor], counted: list[list[int]]) -> Tensor:
    """log of the sum over classes of the mean over combinations of exp(sum of the shares)."""
    terms = [sum(z[j] for z, j in zip(shares, places, strict=True)) for places in itertools.product(*counted)]
    return torch.stack(terms).exp().sum().div(len(terms)).log()


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("samples", [1, 4])
def test_the_term_is_the_sum_over_all_combinations(count: int, samples: int) -> None:
    shares = [draw(samples, 3, seed=m).requires_grad_() for m in range(count)]
    mine = mixed_term(dict(zip(NAMES, shares, strict=False)))
    plain = every_combination(shares, [list(range(samples))] * count)
    torch.testing.assert_close(mine, plain, rtol=1e-12, atol=0)
    torch.testing.assert_close(torch.autograd.grad(mine, shares), torch.autograd.grad(plain, shares))


def test_by_hand() -> None:
    """Two samples, one class: mean(1, 3) mean(2, 6) = 2 * 4 = 8."""
    shares = {"audio": torch.tensor([[1.0], [3.0]]).log(), "video": torch.tensor([[2.0], [6.0]]).log()}
    assert mixed_term(shares).item() == pytest.approx(math.log(8))


def test_samples_that_lack_a_modality_are_no_negatives_of_it() -> None:
    shares = [draw(4, 3, seed=m) for m in range(2)]
    pairs = dict(zip(NAMES[:2], shares, strict=True))
    has = torch.tensor([True, False, True, False])
    plain = every_combination(shares, [[0, 2], [0, 1, 2, 3]])
    torch.testing.assert_close(mixed_term(pairs, {"audio": has}), plain, rtol=1e-12, atol=0)
    torch.testing.assert_close(mixed_term(pairs, {"audio": has & ~has}), mixed_term(pairs))


@pytest.mark.parametrize("count", [2, 3])
def test_gradients_of_a_step_are_those_of_the_definition(count: int) -> None:
    method = TCMax()
    fit = make_fit(method, NAMES[:count], **DOUBLE)
    index = torch.arange(5)
    batch, model = fit.train.batch(index), fit.model
    outputs = model(batch.inputs)
    bias = model.fusion.bias
    shares = [f @ model.fusion.slices[m].weight.T + bias / count for m, f in outputs.features.items()]
    right = torch.stack([outputs.logits[i, y] for i, y in enumerate(batch.target.tolist())]).mean()
    loss = every_combination(shares, [list(range(5))] * count) - right
    plain = torch.autograd.grad(loss, [*model.encoders.parameters(), *model.fusion.parameters()])
    step(method, batch)
    mine = [p.grad for p in [*model.encoders.parameters(), *model.fusion.parameters()]]
    assert fit.meters.means()["loss/total_correlation"] == pytest.approx(loss.item(), rel=1e-9)
    for one, other in zip(mine, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-12)


def test_of_one_sample_it_is_the_cross_entropy() -> None:
    grads, losses = [], []
    for method in (TCMax(), Joint()):
        fit = make_fit(method, NAMES[:3], **DOUBLE)
        step(method, fit.train.batch(torch.tensor([4])))
        grads.append([p.grad for p in [*fit.model.encoders.parameters(), *fit.model.fusion.parameters()]])
        losses.append(sum(v for k, v in fit.meters.means().items() if k.startswith("loss/")))
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-14)


def test_large_logits_stay_finite_where_the_released_form_overflows() -> None:
    """The official code takes exp(z - mean) of every combination without subtracting the largest."""
    shares = [(300 * draw(6, 3, seed=m)).float().requires_grad_() for m in range(2)]
    every = torch.stack([shares[0][j] + shares[1][k] for j in range(6) for k in range(6)])
    assert not (every - every.mean()).exp().sum().isfinite()
    term = mixed_term(dict(zip(NAMES[:2], shares, strict=True)))
    assert term.item() == pytest.approx(every.double().flatten().logsumexp(0).item() - math.log(36), rel=1e-6)
    assert all(g.isfinite().all() for g in torch.autograd.grad(term, shares))


def test_a_dropped_modality_is_no_negative_in_a_step() -> None:
    method = TCMax()
    fit = make_fit(method, **DOUBLE)
    batch = fit.train.batch(torch.arange(4))
    dropped = replace(batch, dropped={"audio": torch.tensor([True, False, False, True])})
    outputs = method.forward(dropped)
    assert outputs.split_logits is not None
    expected = every_combination(list(outputs.split_logits.values()), [[1, 2], [0, 1, 2, 3]])
    right = outputs.logits.gather(1, batch.target[:, None]).mean()
    torch.testing.assert_close(method.loss(outputs, dropped)["total_correlation"], expected - right)
