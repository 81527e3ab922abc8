"""MMCosine by hand, and its gradients by finite differences."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, whole_batch
from mcr_bench.methods.mmcosine import MMCosine, cosine_logits


def test_logits_by_hand() -> None:
    """(1, 1) and (-2, 0) against weights (5, 0), (0, -1), (-3, 3): cosines are those of the angles between them."""
    features = torch.tensor([[1.0, 1.0], [-2.0, 0.0]], dtype=torch.float64)
    weight = torch.tensor([[5.0, 0.0], [0.0, -1.0], [-3.0, 3.0]], dtype=torch.float64)
    angles = [[45, 135, 90], [180, 90, 45]]
    expected = torch.tensor([[7 * math.cos(math.radians(a)) for a in row] for row in angles], dtype=torch.float64)
    torch.testing.assert_close(cosine_logits(features, weight, 7.0), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_the_model_sums_scaled_cosines(count: int, scale: float) -> None:
    method = MMCosine(scale=scale)
    fit = make_fit(method, NAMES[:count], dtype=torch.float64)
    outputs = method.forward(whole_batch(fit))
    expected = torch.zeros(24, 3, dtype=torch.float64)
    for m in fit.model.modalities:
        f, weight = outputs.features[m], fit.model.fusion.slices[m].weight
        for i in range(24):
            for c in range(3):
                dot = sum(a * b for a, b in zip(f[i].tolist(), weight[c].tolist(), strict=True))
                expected[i, c] += scale * dot / math.hypot(*f[i].tolist()) / math.hypot(*weight[c].tolist())
    torch.testing.assert_close(outputs.logits, expected, rtol=1e-9, atol=1e-9)
    assert outputs.logits.abs().max() <= count * scale
    split = outputs.split_logits
    assert split is not None
    torch.testing.assert_close(sum(split.values()), outputs.logits, rtol=1e-12, atol=1e-12)
    assert not [name for name, _ in fit.model.fusion.named_parameters() if "bias" in name]


def test_gradients_are_those_of_finite_differences() -> None:
    leaves = [torch.randn(n, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(n)) for n in (5, 3)]
    assert torch.autograd.gradcheck(lambda f, w: cosine_logits(f, w, 10.0), [x.requires_grad_() for x in leaves])


def test_lengths_of_features_and_weights_count_for_nothing() -> None:
    logits = []
    for factor in (1.0, 1e4, 1e-3):
        method = MMCosine()
        fit = make_fit(method, dtype=torch.float64)
        fit.model.encoders["audio"].register_forward_hook(lambda _m, _i, f, k=factor: k * f)
        with torch.no_grad():
            fit.model.fusion.slices["video"].weight.mul_(factor)
        logits.append(method.forward(whole_batch(fit)).logits)
    for one, other in pairwise(logits):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_features_of_zero_give_finite_gradients() -> None:
    features = torch.zeros(2, 3, requires_grad=True)
    logits = cosine_logits(features, torch.ones(4, 3), 10.0)
    logits.sum().backward()
    assert not logits.any()
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_prediction_uses_the_cosines() -> None:
    method = MMCosine(scale=2.0)
    fit = make_fit(method)
    step(method)
    fit.model.eval()
    logits = method.predict(fit.model, whole_batch(fit).inputs).logits
    assert logits.abs().max() <= 4.0


def test_a_head_without_linear_layers_is_an_error() -> None:
    method = MMCosine()
    fit = make_fit(method)
    fit.model.fusion.slices = nn.ModuleDict({m: nn.Identity() for m in fit.model.modalities})
    with pytest.raises(UserError, match=r"mmcosine.*late-linear"):
        method.build(fit.model)
