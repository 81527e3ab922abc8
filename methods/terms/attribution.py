"""Fused logits attributed to modalities by Shapley values over subsets of the modalities, and AGM's coefficients."""

import torch
from torch import Tensor

from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.models.dropped import Flags
from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel
from mcr_bench.bench.problem.shapley import shapley_plan
from mcr_bench.methods.terms.modes import evaluation_mode
from mcr_bench.methods.terms.zeros import Zeros, encode_with_zeros

NOTHING: Flags = {}


def attribute(
    model: MultimodalModel,
    inputs: Inputs,
    generator: torch.Generator,
    *,
    zero_gradient: bool,
    masked_in_evaluation: bool,
    dropped: Flags = NOTHING,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Every modality's features (B, d), and its Shapley value of the fused logits (B, C); the values sum to the logits.

    As `attributed`.
    """
    features, shares = attributed(
        model,
        inputs,
        generator,
        zero_gradient=zero_gradient,
        masked_in_evaluation=masked_in_evaluation,
        dropped=dropped,
    )
    return features, dict(zip(model.modalities, shares.unbind(), strict=True))


def attributed(
    model: MultimodalModel,
    inputs: Inputs,
    generator: torch.Generator,
    *,
    zero_gradient: bool,
    masked_in_evaluation: bool,
    joined: frozenset[str] = frozenset(),
    graph: Zeros | None = None,
    dropped: Flags = NOTHING,
) -> tuple[dict[str, Tensor], Tensor]:
    """Every modality's features (B, d), and the Shapley values of all modalities, (M, B, C), in the model's order.

    generator: draws the subsets where there are too many to take all of them (`shapley_plan`).
    zero_gradient: whether gradients flow through the passes on zero inputs.
    masked_in_evaluation: whether proper subsets have features of a pass in evaluation mode.
    joined, graph: what spares passes on zeros (`encode_with_zeros`).
    dropped: modality -> (B,) bool, the samples of which it is dropped: it is then zeros in every subset, whether it is
    in it or not, so that its share is that of a modality that adds nothing, and its encoder gets no gradient.
    """
    features, absent = encode_with_zeros(model, inputs, zero_gradient, joined, graph)
    masked = None
    if masked_in_evaluation:
        with evaluation_mode(model.encoders):
            masked = model.encode(inputs)
    if dropped:
        features = model.drop(features, dropped)
        absent = model.drop({m: f.expand(len(inputs), -1) for m, f in absent.items()}, dropped)
        masked = masked and model.drop(masked, dropped)
    if getattr(model.fusion, "additive", False):  # a method may have put any module in its place
        return features, additive_contributions(model, features, masked, absent)
    return features, contributions(model, features, masked or features, absent, generator)


def contributions(
    model: MultimodalModel,
    whole: dict[str, Tensor],
    present: dict[str, Tensor],
    absent: dict[str, Tensor],
    generator: torch.Generator,
) -> Tensor:
    """Every modality's Shapley value of the fused logits, (M, B, C), in full precision even under autocast.

    whole: features (B, d) of the full set. present: those of the modalities in a proper subset.
    absent: features (B, d), or (1, d), of the modalities that are not in a subset. The empty subset is worth 0.

    All subsets go through the fusion head in one pass.
    """
    (_, *chosen), weights = shapley_plan(model.modalities, generator)
    sources = [whole if len(s) == len(model.modalities) else present for s in chosen]
    stacked = {
        m: torch.cat(
            [here[m] if m in s else absent[m].expand_as(whole[m]) for s, here in zip(chosen, sources, strict=True)]
        )
        for m in model.modalities
    }
    values = promoted(model.fusion(stacked).logits).unflatten(0, (len(chosen), -1))
    shares: Tensor = (weights[:, 1:, None, None].to(values, non_blocking=True) * values).sum(1)
    return shares


def additive_contributions(
    model: MultimodalModel, whole: dict[str, Tensor], present: dict[str, Tensor] | None, absent: dict[str, Tensor]
) -> Tensor:
    """As `contributions`, of an additive head, from its branches: s_m - s_m(0) + (b + sum_j s_j(0)) / M.

    present: None: as `whole`; else what the branches of the full set have more is shared equally among the modalities.
    """
    parts = [part for part in (absent, whole, present) if part is not None]
    branches = model.fusion({m: torch.cat([part[m] for part in parts]) for m in whole}).branch_logits
    assert branches is not None, "an additive head has branches"
    count, size = len(whole), len(next(iter(whole.values())))
    stacked = promoted(torch.stack([branches[m] for m in model.modalities]))  # (M, rows, C)
    apart = stacked.shape[1] - size * (len(parts) - 1)
    zero, full, *rest = stacked.split([apart] + [size] * (len(parts) - 1), 1)
    equally = zero.sum(0)
    if model.fusion.bias is not None:
        equally = equally + model.fusion.bias
    if rest:
        equally = equally + (full - rest[0]).sum(0)
    beside = rest[0] if rest else full
    shares: Tensor = beside - zero + equally / count
    return shares


def relative_surprise(scores: Tensor) -> Tensor:
    """exp((mean_j s_j - s_m) M / (M - 1)) of losses s (..., M): above 1 where s_m is below the mean; at most e^80.

    >>> relative_surprise(torch.tensor([1.0, 1.0, 1.0]))
    tensor([1., 1., 1.])
    """
    count = scores.shape[-1]
    return ((scores.mean(-1, keepdim=True) - scores) * (count / (count - 1))).clamp(max=80.0).exp()


def known_surprise(scores: Tensor, known: Tensor) -> Tensor:
    """`relative_surprise` of losses s (..., M) among the modalities at which `known` (M,) is set; 1 for the others.

    It is 1 too where no other modality is known.

    >>> known_surprise(torch.tensor([1.0, torch.nan, 1.0]), torch.tensor([True, False, True]))
    tensor([1., 1., 1.])
    """
    kept = torch.where(known, scores, 0.0)
    others = known.sum() - 1
    mean_of_others = (kept.sum(-1, keepdim=True) - kept) / others.clamp(min=1)
    return torch.where(known & (others > 0), mean_of_others - kept, 0.0).clamp(max=80.0).exp()


def agm_coefficients(scores: Tensor, running: Tensor, alpha: float, cap: float, partial: bool = False) -> Tensor:
    """AGM's coefficients kappa_m = exp(alpha min(tau_m - r_m, cap)), (M,) (arXiv 2308.07686).

    scores: (M,), the losses of this step, which give r. running: (M,), their means over earlier steps, which give tau.
    partial: whether either may be nan, as this batch or all earlier ones lack a modality; a modality for which one is
    nan is then left out, with kappa_m = 1.

    >>> agm_coefficients(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 1.0]), alpha=1.0, cap=10.0)
    tensor([1., 1.])
    """
    pair = torch.stack([running, scores])
    tau, r = (known_surprise(pair, ~pair.isnan().any(0)) if partial else relative_surprise(pair)).unbind()
    return (alpha * (tau - r).clamp(max=cap)).exp()
