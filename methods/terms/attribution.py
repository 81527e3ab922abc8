"""Attribution of fused logits to modalities by Shapley values over modality subsets, and AGM's coefficients."""

from itertools import combinations
from math import factorial

import torch
from torch import Tensor

from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel
from mcr_bench.methods.terms.modes import evaluation_mode


def subsets(modalities: list[str]) -> list[frozenset[str]]:
    """Every non-empty subset, the smaller ones first."""
    sizes = range(1, len(modalities) + 1)
    return [frozenset(chosen) for size in sizes for chosen in combinations(modalities, size)]


def shapley_weights(modalities: list[str]) -> Tensor:
    """(M, 2^M - 1) float64 weights: contributions = weights @ values of `subsets`, where the empty set is worth 0.

    phi_m = sum over S without m of |S|! (M - |S| - 1)! / M! (v(S + m) - v(S)); their sum is v(all).
    """
    count = len(modalities)
    share = [factorial(k) * factorial(count - k - 1) / factorial(count) for k in range(count)] + [0.0]
    rows = [[share[len(s) - 1] if m in s else -share[len(s)] for s in subsets(modalities)] for m in modalities]
    return torch.tensor(rows, dtype=torch.float64)


def attribute(
    model: MultimodalModel, inputs: Inputs, *, zero_gradient: bool, masked_in_evaluation: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Features (B, d) and contributions to the fused logits (B, C) of every modality.

    zero_gradient: gradient flows into the passes on zero inputs. masked_in_evaluation: proper subsets see features made
    in evaluation mode. The training pass comes first: it changes running statistics in place.
    """
    features = model.encode(inputs)
    with evaluation_mode(model.encoders):
        masked = [model.encode(inputs)] if masked_in_evaluation else []
        with torch.set_grad_enabled(zero_gradient):
            absent = zero_features(model, inputs)
    shares = contributions(model, [features, *masked], absent)
    return features, dict(zip(model.modalities, shares.unbind(), strict=True))


def contributions(model: MultimodalModel, present: list[dict[str, Tensor]], absent: dict[str, Tensor]) -> Tensor:
    """Contribution of every modality to the fused logits, (M, B, C), in full precision also under autocast.

    present: features (B, d) of the modalities that are in a subset; [0] for the full set, [-1] for the others.
    absent: features of those that are not. All subsets go through the fusion head in one pass.
    """
    chosen = subsets(model.modalities)
    sources = [present[0] if len(s) == len(model.modalities) else present[-1] for s in chosen]
    stacked = {
        m: torch.cat([here[m] if m in s else absent[m] for s, here in zip(chosen, sources, strict=True)])
        for m in model.modalities
    }
    values: Tensor = model.fusion(stacked).logits
    values = values.to(torch.promote_types(values.dtype, torch.float32)).unflatten(0, (len(chosen), -1))
    weights = shapley_weights(model.modalities).to(values)
    shares: Tensor = (weights[:, :, None, None] * values).sum(1)
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
