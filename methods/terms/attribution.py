"""Fused logits attributed to modalities by Shapley values over subsets of the modalities, and AGM's coefficients."""

import torch
from torch import Tensor

from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel
from mcr_bench.bench.problem.shapley import shapley_plan
from mcr_bench.methods.terms.modes import evaluation_mode


def attribute(
    model: MultimodalModel,
    inputs: Inputs,
    generator: torch.Generator,
    *,
    zero_gradient: bool,
    masked_in_evaluation: bool,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Every modality's features (B, d), and its Shapley value of the fused logits (B, C); the values sum to the logits.

    generator: draws the subsets where there are too many to take all of them (`shapley_plan`).
    zero_gradient: whether gradients flow through the passes on zero inputs.
    masked_in_evaluation: whether proper subsets have features of a pass in evaluation mode.
    """
    # The training pass comes first, because it changes running statistics in place.
    features = model.encode(inputs)
    with evaluation_mode(model.encoders):
        masked = [model.encode(inputs)] if masked_in_evaluation else []
        with torch.set_grad_enabled(zero_gradient):
            absent = zero_features(model, inputs)
    shares = contributions(model, [features, *masked], absent, generator)
    return features, dict(zip(model.modalities, shares.unbind(), strict=True))


def contributions(
    model: MultimodalModel,
    present: list[dict[str, Tensor]],
    absent: dict[str, Tensor],
    generator: torch.Generator,
) -> Tensor:
    """Every modality's Shapley value of the fused logits, (M, B, C), in full precision even under autocast.

    present: features (B, d) of the modalities in a subset: the first entry for the full set, the last for all others.
    absent: features (B, d) of the modalities that are not in a subset. The empty subset is worth 0.

    All subsets go through the fusion head in one pass.
    """
    (_, *chosen), weights = shapley_plan(model.modalities, generator)
    sources = [present[0] if len(s) == len(model.modalities) else present[-1] for s in chosen]
    stacked = {
        m: torch.cat([here[m] if m in s else absent[m] for s, here in zip(chosen, sources, strict=True)])
        for m in model.modalities
    }
    values: Tensor = model.fusion(stacked).logits
    values = values.to(torch.promote_types(values.dtype, torch.float32)).unflatten(0, (len(chosen), -1))
    shares: Tensor = (weights[:, 1:, None, None].to(values, non_blocking=True) * values).sum(1)
    return shares


def zero_features(model: MultimodalModel, inputs: Inputs) -> dict[str, Tensor]:
    """Modality -> features (B, d) of inputs that are all zero; call it in evaluation mode.

    One sample of zeros is encoded and expanded, except for padded sequences, whose features depend on their lengths.
    """
    features = {}
    for m, values in inputs.values.items():
        lengths = inputs.lengths.get(m)
        zeros = torch.zeros_like(values if lengths is not None else values[:1])
        features[m] = model.encode_one(m, zeros, lengths).expand(len(inputs), -1)
    return features


def relative_surprise(scores: Tensor) -> Tensor:
    """exp((mean_j s_j - s_m) M / (M - 1)), (M,), of losses s (M,): above 1 where s_m is below the mean; at most e^80.

    >>> relative_surprise(torch.tensor([1.0, 1.0, 1.0]))
    tensor([1., 1., 1.])
    """
    count = len(scores)
    return ((scores.mean() - scores) * (count / (count - 1))).clamp(max=80.0).exp()


def agm_coefficients(scores: Tensor, running: Tensor, alpha: float, cap: float) -> Tensor:
    """AGM's coefficients kappa_m = exp(alpha min(tau_m - r_m, cap)), (M,) (arXiv 2308.07686).

    scores: (M,), the losses of this step, which give r. running: (M,), their means over earlier steps, which give tau.

    >>> agm_coefficients(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 1.0]), alpha=1.0, cap=10.0)
    tensor([1., 1.])
    """
    gap = relative_surprise(running) - relative_surprise(scores)
    return (alpha * gap.clamp(max=cap)).exp()
