"""PDF's nets are linear in the released code: three layers that are one."""

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.testing.fits import NAMES, make_fit, whole_batch
from mcr_bench.methods.predictive_dynamic_fusion import PredictiveDynamicFusion

Found = tuple[dict[str, Tensor], dict[str, Tensor]]


def fit_of(method: PredictiveDynamicFusion, count: int) -> Fit:
    return make_fit(method, NAMES[:count], dtype=torch.float64)


def found(fit: Fit, terms: dict[str, Tensor]) -> Found:
    """The terms, and their sum's gradients."""
    named = {n: p for n, p in fit.model.named_parameters() if not n.startswith("fusion.")}
    total = torch.stack(list(terms.values())).sum()
    return terms, dict(zip(named, torch.autograd.grad(total, list(named.values())), strict=True))


def of_method(variant: str, count: int) -> Found:
    method = PredictiveDynamicFusion(variant=variant)
    fit = fit_of(method, count)
    batch = whole_batch(fit)
    return found(fit, method.loss(method.forward(batch), batch))


def of_words(linear: bool, count: int) -> Found:
    fit = fit_of(PredictiveDynamicFusion(), count)
    model, batch = fit.model, whole_batch(fit)
    rows, y = torch.arange(24), batch.target
    features = model.encode(batch.inputs)
    own = {m: model.own_heads[m](f) for m, f in features.items()}

    def entropy(z: Tensor) -> Tensor:
        return -z.log_softmax(1)[rows, y].mean()

    c = {}
    for m, f in features.items():
        net, x = model.extras["confidence"][m], f.detach()
        for layer in (net.first, net.second):
            x = x @ layer.weight.T + layer.bias
            x = x if linear else x * (x > 0)
        c[m] = 1 / (1 + torch.exp(-(x @ net.last.weight.T + net.last.bias)[:, 0]))
    product = torch.stack(list(c.values())).prod(0)
    weights = torch.stack([one + (product / one).log() / product.log() for one in c.values()]).softmax(0).detach()
    fused = torch.stack([w[:, None] * z for w, z in zip(weights, own.values(), strict=True)]).sum(0)
    terms = {"fused": entropy(fused)} | {f"own/{m}": entropy(z) for m, z in own.items()}
    for m, z in own.items():
        terms[f"confidence/{m}"] = (c[m] - z.detach().softmax(1)[rows, y]).abs().mean()
    return found(fit, terms)


def require_equal(mine: Found, theirs: Found) -> None:
    for one, other in zip(mine, theirs, strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            torch.testing.assert_close(one[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("variant", ["paper", "official"])
def test_each_variant_is_what_the_words_say(variant: str, count: int) -> None:
    require_equal(of_method(variant, count), of_words(variant == "official", count))


@pytest.mark.parametrize("count", [2, 3])
def test_the_defect_shows_in_the_gradient_and_would_fail_the_test_of_paper(count: int) -> None:
    paper, official = of_method("paper", count)[1], of_method("official", count)[1]
    for name, gradient in paper.items():
        if name.startswith("extras."):
            assert (gradient - official[name]).norm() > 1e-3 * official[name].norm(), name
    with pytest.raises(AssertionError):
        require_equal(of_method("official", count), of_words(False, count))


def test_the_released_net_is_one_linear_map() -> None:
    draws = torch.Generator().manual_seed(0)
    x, y = (torch.randn(5, 6, generator=draws, dtype=torch.float64) for _ in range(2))
    for variant, is_linear in (("official", True), ("paper", False)):
        net = fit_of(PredictiveDynamicFusion(variant=variant), 2).model.extras["confidence"]["audio"]
        assert torch.allclose(net(x) + net(y) - net(torch.zeros_like(x)), net(x + y), rtol=1e-9) == is_linear
