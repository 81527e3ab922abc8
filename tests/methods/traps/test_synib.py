"""SynIB's random destroying ignores `fill`, and its unimodal anchor is the modality that is destroyed."""

import math

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.testing.fits import NAMES, make_fit, whole_batch
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.synib import SynIB

Found = tuple[dict[str, Tensor], dict[str, Tensor]]
WEIGHT = 0.6


def setup(variant: str, count: int, **settings: object) -> tuple[SynIB, Outputs, Batch]:
    method = SynIB(variant=variant, weight=WEIGHT, draws=3, **settings)  # type: ignore[arg-type]
    fit = make_fit(method, NAMES[:count], fusion="concat-mlp", dtype=torch.float64)
    batch = whole_batch(fit)
    return method, method.forward(batch), batch


def found(outputs: Outputs, terms: dict[str, Tensor]) -> Found:
    """The terms of synergy, and their sum's gradients."""
    terms = {n: t for n, t in terms.items() if n.startswith("synergy/")}
    named = {n: p for n, p in outputs.model.named_parameters() if not n.startswith("own_heads")}
    total = torch.stack(list(terms.values())).sum()
    return terms, dict(zip(named, torch.autograd.grad(total, list(named.values())), strict=True))


def of_method(variant: str, count: int, **settings: object) -> Found:
    method, outputs, batch = setup(variant, count, **settings)
    return found(outputs, method.loss(outputs, batch))


def by_words(count: int, prior: str, shuffled: bool, own_anchor: bool) -> Found:
    """The terms, with the draws of the run; the released code shuffles always, and anchors to what is destroyed."""
    method, outputs, _ = setup("paper", count, prior=prior)
    model, terms = outputs.model, {}
    rates = [0.3 + 0.6 * math.cos((k / 2 + 0.008) / 1.008 * math.pi / 2) ** 2 for k in range(3)]
    for m, f in outputs.features.items():
        source, total = method.fit.generator("destroy", m), torch.zeros((), dtype=torch.float64)
        lost = torch.rand(3, *f.shape, generator=source)
        order = torch.rand(3, len(f), generator=source).argsort(1)
        for k, rate in enumerate(rates):
            filling = f[order[k]] if shuffled else torch.zeros_like(f)
            mask = (lost[k] < torch.tensor(rate)).double()
            features = outputs.features | {m: (1 - mask) * f + mask * filling}
            z = model.fusion(features).logits
            if prior == "normal":
                head = model.extras["variance"].slices
                v = torch.stack([x @ head[n].weight.T + head[n].bias for n, x in features.items()]).sum(0)
                total = total + 0.5 * (v.exp() + z**2 - 1 - v).sum(1).mean() / 3
            else:
                others = [h for n, h in outputs.own_logits.items() if (n == m) == own_anchor]
                p = torch.stack(others).mean(0).detach().softmax(1)
                total = total + (p * (p.log() - z.log_softmax(1))).sum(1).mean() / 3
        terms[f"synergy/{m}"] = WEIGHT * total
    return found(outputs, terms)


def require_equal(mine: Found, theirs: Found) -> None:
    for one, other in zip(mine, theirs, strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            torch.testing.assert_close(one[name], value, rtol=1e-9, atol=1e-12)


def apart(one: Found, other: Found) -> float:
    """The largest relative difference of a parameter's gradients."""
    return max(((one[1][n] - g).norm() / g.norm()).item() for n, g in other[1].items())


@pytest.mark.parametrize("count", [2, 3])
def test_official_shuffles_whatever_the_filling(count: int) -> None:
    official, paper = (of_method(variant, count, fill="zeros") for variant in ("official", "paper"))
    require_equal(official, by_words(count, "normal", shuffled=True, own_anchor=False))
    require_equal(paper, by_words(count, "normal", shuffled=False, own_anchor=False))
    assert apart(official, paper) > 1e-3
    with pytest.raises(AssertionError):
        require_equal(official, by_words(count, "normal", shuffled=False, own_anchor=False))


@pytest.mark.parametrize("count", [2, 3])
def test_official_anchors_to_the_modality_that_is_destroyed(count: int) -> None:
    official, paper = (of_method(variant, count, prior="unimodal") for variant in ("official", "paper"))
    require_equal(official, by_words(count, "unimodal", shuffled=True, own_anchor=True))
    require_equal(paper, by_words(count, "unimodal", shuffled=True, own_anchor=False))
    assert apart(official, paper) > 1e-3
    with pytest.raises(AssertionError):
        require_equal(official, by_words(count, "unimodal", shuffled=True, own_anchor=False))


@pytest.mark.parametrize("count", [2, 3])
def test_with_the_filling_that_is_the_default_the_variants_are_equal(count: int) -> None:
    require_equal(of_method("official", count), of_method("paper", count))
