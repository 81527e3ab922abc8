"""QMF's energies overflow, the margin of its ranking is subtracted, and difficulties are sums."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.testing.fits import NAMES, make_fit, whole_batch
from mcr_bench.methods.qmf import Qmf, confidences, ranking

EARLIER = 2.0  # a loss that every fourth sample had before


def fit_of(method: Qmf, count: int) -> Fit:
    fit = make_fit(method, NAMES[:count], dtype=torch.float64)
    index = torch.arange(0, 24, 4)
    method.difficulty(torch.full((count, len(index)), EARLIER, dtype=torch.float64), index)
    return fit


def loss_by_words(fit: Fit, released: bool) -> Tensor:
    """The loss: of the released code with sums of losses and torch's ranking loss, or of the paper."""
    model, batch = fit.model, whole_batch(fit)
    own = [model.own_heads[m](f) for m, f in model.encode(batch.inputs).items()]
    conf = [z.exp().sum(1).log() / 10 if released else z.logsumexp(1) / 10 for z in own]
    fused = torch.stack([c.detach()[:, None] * z for c, z in zip(conf, own, strict=True)]).sum(0)
    total = torch.stack([F.cross_entropy(z, batch.target) for z in (fused, *own)]).sum()
    for z, c in zip(own, conf, strict=True):
        history = F.cross_entropy(z, batch.target, reduction="none").detach()
        early = torch.arange(24) % 4 == 0
        history = history + EARLIER * early
        if not released:
            history = history / (1 + early.double())
        d = (history - history.min()) / (history.max() - history.min())
        order = (d - d.roll(-1)).sign()
        margin = (d - d.roll(-1)).abs()
        if released:
            second = c.roll(-1) + margin / torch.where(order == 0, 1.0, order)
            total = total + F.margin_ranking_loss(c, second, -order)
        else:
            total = total + (order * (c - c.roll(-1)) + margin).relu().mean()
    return total


def gradients(fit: Fit, loss: Tensor) -> dict[str, Tensor]:
    named = {n: p for n, p in fit.model.named_parameters() if not n.startswith("fusion.")}
    return dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))


def of_method(variant: str, count: int) -> tuple[Tensor, dict[str, Tensor]]:
    method = Qmf(variant=variant)
    fit = fit_of(method, count)
    batch = whole_batch(fit)
    loss = torch.stack(list(method.loss(method.forward(batch), batch).values())).sum()
    return loss, gradients(fit, loss)


def of_words(released: bool, count: int) -> tuple[Tensor, dict[str, Tensor]]:
    fit = fit_of(Qmf(), count)
    loss = loss_by_words(fit, released)
    return loss, gradients(fit, loss)


def require_equal(mine: tuple[Tensor, dict[str, Tensor]], theirs: tuple[Tensor, dict[str, Tensor]]) -> None:
    torch.testing.assert_close(mine[0], theirs[0], rtol=1e-9, atol=1e-12)
    for name, gradient in theirs[1].items():
        torch.testing.assert_close(mine[1][name], gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("variant", ["paper", "official"])
def test_each_variant_is_what_the_words_say(variant: str, count: int) -> None:
    require_equal(of_method(variant, count), of_words(variant == "official", count))


@pytest.mark.parametrize("count", [2, 3])
def test_the_margin_shows_in_the_gradient_and_would_fail_the_test_of_paper(count: int) -> None:
    paper, official = of_method("paper", count), of_method("official", count)
    apart = torch.stack([(paper[1][n] - g).norm() / paper[1][n].norm() for n, g in official[1].items()])
    assert apart.max() > 1e-3
    with pytest.raises(AssertionError):
        require_equal(official, of_words(False, count))


@pytest.mark.parametrize("count", [2, 3])
def test_energies_overflow_in_the_released_code_alone(count: int) -> None:
    logits = torch.randn(count, 5, 4, generator=torch.Generator().manual_seed(count), dtype=torch.float64)
    small = logits.exp().sum(-1).log() / 10
    for official in (True, False):
        torch.testing.assert_close(confidences(logits, official), small, rtol=1e-9, atol=1e-12)
    large = (logits + 1e3).requires_grad_()
    assert confidences(large, official=True).isinf().all()
    (slope,) = torch.autograd.grad(confidences(large, official=True).sum(), large, retain_graph=True)
    assert slope.isnan().any()
    (slope,) = torch.autograd.grad(confidences(large).sum(), large)
    torch.testing.assert_close(slope, logits.softmax(-1) / 10, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(confidences(large), small + 100, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("count", [2, 3])
def test_difficulties_are_sums_in_the_released_code_alone(count: int) -> None:
    """Six samples have two losses, six have one, and twelve none."""
    draws = torch.Generator().manual_seed(count)
    losses, confidence = (torch.rand(count, 12, generator=draws, dtype=torch.float64) + 0.2 for _ in range(2))
    sums = losses * torch.tensor([2.0] * 6 + [1.0] * 6, dtype=torch.float64)
    low, high = (extreme(1, keepdim=True).values for extreme in (losses.min, losses.max))
    words = {"official": sums / sums.max(1, keepdim=True).values, "paper": (losses - low) / (high - low)}
    slopes = {}
    for variant, wanted in words.items():
        method = Qmf(variant=variant)
        make_fit(method, NAMES[:count], dtype=torch.float64)
        method.difficulty(losses[:, :6], torch.arange(6))
        difficulty = method.difficulty(losses, torch.arange(12))
        torch.testing.assert_close(difficulty, wanted, rtol=1e-9, atol=1e-12)
        leaf = confidence.clone().requires_grad_()
        (slopes[variant],) = torch.autograd.grad(ranking(leaf, difficulty).sum(), leaf)
    assert (slopes["paper"] - slopes["official"]).norm() / slopes["paper"].norm() > 1e-3
