"""Terms of MCR against direct calculations: JS, NT-Xent, the bottleneck, permutations, gradient scaling."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from torch import nn

from mcr_bench.methods.terms.features.ceb import FeatureDecoder, ceb
from mcr_bench.methods.terms.features.contrastive import nt_xent, score_bins
from mcr_bench.methods.terms.games.game import coalitions, divergences, jensen_shannon, squared_difference
from mcr_bench.methods.terms.games.perturb import noisy, permutations, permuted, perturbed
from mcr_bench.methods.terms.modes import evaluation_mode
from mcr_bench.methods.terms.scaled import scale_gradient


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_js_is_scipys_mean_over_rows() -> None:
    q, z = 3 * randn(4, 5, 6), 3 * randn(5, 6, seed=1)
    rows = [jensenshannon(softmax(q[p, i].numpy()), softmax(z[i].numpy())) ** 2 for p in range(4) for i in range(5)]
    assert jensen_shannon(q, z).item() == pytest.approx(np.mean(rows), abs=1e-12)


def test_js_bounds() -> None:
    z = randn(5, 3)
    assert jensen_shannon(z, z + 7.0).item() == pytest.approx(0.0, abs=1e-15)
    one, two = torch.tensor([[1e4, 0.0, 0.0]]), torch.tensor([[0.0, 1e4, 0.0]])
    assert jensen_shannon(one, two).item() == pytest.approx(math.log(2), rel=1e-6)


@pytest.mark.parametrize("size", [50.0, 1e4, 1e20])
def test_js_of_saturated_logits_has_finite_value_and_gradient(size: float) -> None:
    q = torch.tensor([[size, 0.0, -size], [0.0, size, 0.0]], requires_grad=True)
    z = torch.tensor([[-size, 0.0, size], [0.0, size, 0.0]], requires_grad=True)
    value = jensen_shannon(q, z)
    value.backward()
    assert value.item() == pytest.approx(math.log(2) / 2, rel=1e-5)
    for logits in (q, z):
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()


def test_js_gradient_is_that_of_finite_differences() -> None:
    q, z = randn(3, 2, 4).requires_grad_(), randn(2, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(jensen_shannon, (q, z))


def test_squared_difference_by_hand() -> None:
    assert squared_difference(torch.tensor([[[1.0], [3.0]]]), torch.tensor([[0.0], [1.0]])).item() == 2.5


def test_coalitions_are_all_non_empty_proper_subsets() -> None:
    assert coalitions(["a", "b"]) == [("a",), ("b",)]
    assert {frozenset(s) for s in coalitions(["a", "b", "c"])} == {
        frozenset(s) for s in ("a", "b", "c", "ab", "ac", "bc")
    }
    assert len(coalitions(list("abcd"))) == 14


@pytest.mark.parametrize("others", [-1.0, 0.0, 1.0])
def test_gradient_factors_of_linear_divergences(others: float) -> None:
    """With distance = sum of (output - 0) every gradient can be written down."""
    intact = {m: torch.zeros(1, 1, requires_grad=True) for m in "abc"}
    perturbed = {m: 10 * x[None] for m, x in intact.items()}
    found = divergences(
        intact, perturbed, lambda x: x["a"] + x["b"] + x["c"], lambda q, z: (q - z).sum(), others, detach_reference=True
    )
    sum(found.values()).backward()  # type: ignore[union-attr]
    # Three coalitions hold a player (slope 10 each), three do not (slope 1, times k).
    assert intact["a"].grad is not None
    assert intact["a"].grad.item() == 30 + 3 * others


@pytest.mark.parametrize("factor", [2.5, torch.tensor(-1.0)])
def test_scaled_gradient(factor: float | torch.Tensor) -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = scale_gradient(x, factor)
    assert torch.equal(y, x)
    (y * torch.tensor([1.0, 3.0])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [float(factor), 3 * float(factor)]


def test_permutations_are_uniform_with_fixed_points() -> None:
    orders = permutations(6000, 3, torch.Generator().manual_seed(0))
    assert (orders.sort(-1).values == torch.arange(3)).all()
    _, counts = orders.unique(dim=0, return_counts=True)
    assert len(counts) == 6
    assert ((counts - 1000).abs() < 150).all()  # 5 standard deviations


def test_permuted_rows_and_their_gradient() -> None:
    x = randn(4, 2).requires_grad_()
    orders = torch.tensor([[1, 0, 3, 2], [3, 1, 0, 2], [0, 1, 2, 3]])
    assert torch.equal(permuted(x, orders), x[orders])
    assert torch.autograd.gradcheck(lambda t: permuted(t, orders), (x,))


def test_noise_has_the_batch_std_and_constant_entries_stay_finite() -> None:
    x = torch.stack([5 * randn(50), torch.full((50,), 2.0, dtype=torch.float64)], 1).requires_grad_()
    y = noisy(x, 400, 0.5, torch.Generator().manual_seed(1))
    spread = (y - x).std((0, 1))
    assert spread[0].item() == pytest.approx(0.5 * x[:, 0].std(correction=0).item(), rel=0.03)
    assert spread[1].item() == 0
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.full_like(x, 400))


def loop_nt_xent(features: list[torch.Tensor], labels: list[int], temperature: float) -> torch.Tensor:
    vectors = [(f / f.norm(), y) for block in features for f, y in zip(block, labels, strict=True)]
    losses = []
    for a, (va, ya) in enumerate(vectors):
        bottom = [(va @ vn / temperature).exp() for vn, yn in vectors if yn != ya]
        for p, (vp, yp) in enumerate(vectors):
            if p != a and yp == ya:
                top = (va @ vp / temperature).exp()
                losses.append(-(top / (top + sum(bottom))).log())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_nt_xent_is_the_loop_over_pairs(count: int) -> None:
    labels = [0, 1, 0, 2, 1]
    mine = [randn(5, 4, seed=s).requires_grad_() for s in range(count)]
    theirs = [f.detach().clone().requires_grad_() for f in mine]
    value = nt_xent({str(i): f for i, f in enumerate(mine)}, torch.tensor(labels), 0.5)
    expected = loop_nt_xent(theirs, labels, 0.5)
    assert value.item() == pytest.approx(expected.item(), abs=1e-12)
    value.backward()
    expected.backward()
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("labels", [[0, 1, 2], [4, 4, 4]], ids=["no positives", "no negatives"])
@pytest.mark.parametrize("temperature", [0.5, 0.01])
def test_nt_xent_without_positives_or_negatives_is_zero(labels: list[int], temperature: float) -> None:
    features = randn(3, 4).float().requires_grad_()
    value = nt_xent({"a": features}, torch.tensor(labels), temperature)
    value.backward()
    assert value.item() == 0
    assert features.grad is not None
    assert not features.grad.any()


def test_nt_xent_of_a_zero_feature_is_finite() -> None:
    features = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    nt_xent({"a": features}, torch.tensor([0, 0, 1]), 0.5).backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


def test_score_bins() -> None:
    assert score_bins(torch.tensor([-1.4, -0.6, 0.2, 1.49, 2.9])).tolist() == [-1, -1, 0, 1, 3]


def test_ceb_is_the_mse_of_the_concatenation_and_spares_the_logits() -> None:
    decoder = FeatureDecoder(["a", "b"], 3, 4).double()
    assert not [n for n, _ in decoder.named_parameters() if n.endswith("bias")]
    features = {m: randn(5, 4, seed=s).requires_grad_() for s, m in enumerate("ab")}
    logits = randn(5, 3, seed=9).requires_grad_()
    value = ceb(features, logits, decoder)
    last = torch.cat([decoder.slices[m].weight for m in "ab"])  # one layer C - d - 2d
    g = (logits @ decoder.hidden.weight.T).clamp(min=0) @ last.T
    expected = ((torch.cat(list(features.values()), 1) - g) ** 2).mean()
    assert value.item() == pytest.approx(expected.item(), abs=1e-12)
    value.backward()
    assert logits.grad is None
    assert all(f.grad is not None and f.grad.any() for f in features.values())
    assert all(p.grad is not None and p.grad.any() for p in decoder.parameters())


def test_evaluation_mode_restores_every_part() -> None:
    module = nn.Sequential(nn.BatchNorm1d(2), nn.Sequential(nn.Dropout(), nn.Linear(2, 2)))
    module[0].eval()
    before = [part.training for part in module.modules()]
    with evaluation_mode(module):
        assert not any(part.training for part in module.modules())
    assert [part.training for part in module.modules()] == before


def test_noise_of_the_released_code_is_unbiased_and_has_a_gradient() -> None:
    """x + eps s with s^2 = sum (x - mean)^2 / (B - 1), so ds/dx_i = (x_i - mean) / ((B - 1) s); a constant entry: 0."""
    x = torch.stack([randn(6), torch.full((6,), 2.0, dtype=torch.float64)], 1).requires_grad_()
    y = perturbed("noise_latent", x, 3, 0.5, torch.Generator().manual_seed(1), "released")
    eps = torch.randn(3, 6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    away = (x - x.mean(0)).detach()
    spread = (away.square().sum(0) / 5).sqrt()
    torch.testing.assert_close(y, x + 0.5 * eps * spread)
    y.sum().backward()
    slope = torch.where(spread > 0, away / (5 * spread.clamp(min=1e-300)), 0.0)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, 3 + 0.5 * eps.sum((0, 1)) * slope)


@pytest.mark.parametrize("kind", ["permute_latent", "zero_input"])
def test_other_perturbations_do_not_know_the_noise(kind: str) -> None:
    found = [
        perturbed(kind, randn(6, 2), 3, 0.5, torch.Generator().manual_seed(1), std) for std in ("biased", "released")
    ]
    assert torch.equal(*found)
