"""Attribution of fused logits to modalities by Shapley values over modality subsets, and AGM's coefficients."""

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
    """Features (B, d) and contributions to the fused logits (B, C) of every modality.

    zero_gradient: gradient flows into the passes on zero inputs. masked_in_evaluation: proper subsets see features made
    in evaluation mode. The training pass comes first: it changes running statistics in place. generator: draws the
    subsets where there are too many to take them all (`shapley_plan`); the contributions still sum to the logits.
    """
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
    """Contribution of every modality to the fused logits, (M, B, C), in full precision also under autocast.

    present: features (B, d) of the modalities that are in a subset; [0] for the full set, [-1] for the others.
    absent: features of those that are not; the empty subset is worth 0. All subsets go through the fusion head in one
    pass.
    """
    (_, *chosen), weights = shapley_plan(model.modalities, generator)
    sources = [present[0] if len(s) == len(model.modalities) else present[-1] for s in chosen]
    stacked = {
        m: torch.cat([here[m] if m in s else absent[m] for s, here in zip(chosen, sources, strict=True)])
        for m in model.modalities
    }
    values: Tensor = model.fusion(stacked).logits
    values = values.to(torch.promote_types(values.dtype, torch.float32)).unflatten(0, (len(chosen), -1))
    shares: Tensor = (weights[:, 1:, None, None].to(values) * values).sum(1)
    return shares


def zero_features(model: MultimodalModel, inputs: Inputs) -> dict[str, Tensor]:
    """Features (B, d) of all-zero inputs; call it in evaluation mode.

    A zero sample is encoded once and expanded, but for padded sequences, whose features depend on their lengths.
    """
    found = {}
    for m, values in inputs.values.items():
        lengths = inputs.lengths.get(m)
        zeros = torch.zeros_like(values if lengths is not None else values[:1])
        found[m] = model.encode_one(m, zeros, lengths).expand(len(inputs), -1)
    return found


def relative_surprise(scores: Tensor) -> Tensor:
    """exp((mean s - s_m) M / (M - 1)), (M,) -> (M,): above 1 where the loss s_m is below the mean; at most e^80."""
    count = len(scores)
    return ((scores.mean() - scores) * (count / (count - 1))).clamp(max=80.0).exp()


def agm_coefficients(scores: Tensor, running: Tensor, alpha: float, cap: float) -> Tensor:
    """kappa_m = exp(alpha min(tau_m - r_m, cap)), r from this step's scores, tau from the running means. (M,)"""
    gap = relative_surprise(running) - relative_surprise(scores)
    return (alpha * gap.clamp(max=cap)).exp()
