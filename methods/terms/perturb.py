"""Perturbations that take a modality's information about its sample away: permutation in the batch, noise, zeros."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel, Outputs
from mcr_bench.methods.terms.modes import evaluation_mode


class _Permute(torch.autograd.Function):
    """Rows of x (B, ...) in P orders -> (P, B, ...). Its backward pass is an index too: no atomic additions on GPUs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, orders: Tensor) -> Tensor:
        ctx.save_for_backward(orders)
        return x.index_select(0, orders.flatten()).reshape(*orders.shape, *x.shape[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (orders,) = ctx.saved_tensors
        rows = torch.arange(orders.numel(), device=orders.device).view_as(orders)
        inverse = torch.empty_like(orders).scatter_(1, orders, rows)
        return grad.flatten(0, 1).index_select(0, inverse.flatten()).reshape(grad.shape).sum(0), None


def permutations(count: int, size: int, generator: torch.Generator) -> Tensor:
    """`count` uniform permutations of range(size), (count, size) int64, fixed points allowed."""
    return torch.rand(count, size, generator=generator, device=generator.device).argsort(-1)


def permuted(x: Tensor, orders: Tensor) -> Tensor:
    """x[orders[p, i]] for x (B, ...) and `orders` (P, B), each row a permutation of range(B) -> (P, B, ...)."""
    rows: Tensor = _Permute.apply(x, orders)  # type: ignore[no-untyped-call]
    return rows


def noisy(x: Tensor, count: int, scale: float, generator: torch.Generator, spread: Tensor | None = None) -> Tensor:
    """`count` copies x + scale * eps * spread, eps standard normal -> (count, B, ...).

    spread: by default the biased standard deviation over the batch, per entry, a constant of the backward pass.
    """
    eps = torch.randn(count, *x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return x + scale * eps * (x.detach().std(0, correction=0) if spread is None else spread)


def perturbed(
    perturb: str, x: Tensor, count: int, scale: float, generator: torch.Generator, noise_std: str = "biased"
) -> Tensor:
    """x (B, ...) perturbed as the first word of `perturb` says, (count, B, ...); zeros are (1, B, ...).

    noise_std = "released" is that of the MCR code: unbiased, with its gradient (0 where an entry is constant).
    """
    kind = perturb.partition("_")[0]
    if kind == "permute":
        return permuted(x, permutations(count, len(x), generator))
    if kind == "zero":
        return torch.zeros_like(x)[None]
    return noisy(x, count, scale, generator, x.std(0) if noise_std == "released" else None)


def perturbed_players(
    outputs: Outputs, inputs: Inputs, perturb: str, change: Callable[[str, Tensor], Tensor]
) -> dict[str, Tensor]:
    """Every modality's branch logits (P, B, C), or features (P, B, d) if the head is not additive, perturbed.

    `change(m, x)` perturbs (B, ...) to (P, B, ...): the latents of `outputs`, or the inputs, which pass the encoders
    again in evaluation mode.
    """
    model = outputs.model
    if perturb.endswith("input"):
        values = {m: change(m, x) for m, x in inputs.values.items()}
        return _players(model, {m: _encode(model, m, x, inputs.lengths.get(m)) for m, x in values.items()})
    if perturb == "noise_latent":
        return _players(model, {m: change(m, f) for m, f in outputs.features.items()})
    return {m: change(m, x) for m, x in brought(outputs).items()}


def brought(outputs: Outputs) -> dict[str, Tensor]:
    """What each player brings to the head: branch logits (B, C) where it is additive, features (B, d) otherwise."""
    return outputs.branch_logits or outputs.features


def second_pass(model: MultimodalModel, inputs: Inputs) -> Outputs:
    """Outputs of another pass, encoders in evaluation mode, gradients as usual."""
    with evaluation_mode(model.encoders):
        features = model.encode(inputs)
    return model.fuse(features)


def _players(model: MultimodalModel, features: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a player brings to the head: branch logits where it is additive, features otherwise."""
    return model.fusion(features).branch_logits or features if model.fusion.additive else features


def _encode(model: MultimodalModel, modality: str, values: Tensor, lengths: Tensor | None) -> Tensor:
    """Features (P, B, d) of inputs (P, B, ...), in evaluation mode."""
    repeated = None if lengths is None else lengths.repeat(len(values))
    with evaluation_mode(model.encoders[modality]):
        return model.encode_one(modality, values.flatten(0, 1), repeated).reshape(*values.shape[:2], -1)
