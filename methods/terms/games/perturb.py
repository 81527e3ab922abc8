"""Perturbations that remove a modality's information about its sample: permutation in the batch, noise, or zeros."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel, Outputs
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.terms.modes import evaluation_mode

NOTHING: Mapping[str, Tensor] = {}


class _Permute(torch.autograd.Function):
    """The rows of x (B, ...) in P orders, (P, B, ...). The backward pass is an index too, without atomic additions."""

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
    """`count` random permutations of range(size), (count, size) int64, all equally likely.

    >>> permutations(3, 4, torch.Generator().manual_seed(0)).sort(-1).values[0]
    tensor([0, 1, 2, 3])
    """
    return torch.rand(count, size, generator=generator, device=generator.device).argsort(-1)


def permutations_among(count: int, having: Tensor, generator: torch.Generator) -> Tensor:
    """As `permutations`, of the samples at which `having` (B,) is set among themselves, and of the others likewise.

    >>> permutations_among(2, torch.tensor([False, True, False]), torch.Generator().manual_seed(0))[:, 1]
    tensor([1, 1])
    """
    drawn = torch.rand(count, len(having), generator=generator, device=generator.device)
    places = (~having).to(torch.uint8).argsort(stable=True)
    return torch.empty_like(drawn, dtype=torch.int64).scatter_(
        1, places.expand(count, -1), (drawn + (~having).to(drawn)).argsort(-1)
    )


def spread_among(x: Tensor, having: Tensor, released: bool) -> Tensor:
    """The standard deviation (...) of x (B, ...) over the samples at which `having` (B,) is set, 0 of none.

    released: as in the MCR code, unbiased and with a gradient; without it biased, without a gradient.

    >>> spread_among(torch.tensor([1.0, 3.0, 50.0]), torch.tensor([True, True, False]), released=False)
    tensor(1.)
    """
    kept = having.reshape(-1, *[1] * (x.ndim - 1))
    count = having.sum()
    rows = torch.where(kept, x if released else x.detach(), 0.0)
    away = torch.where(kept, rows - rows.sum(0) / count.clamp(min=1), 0.0)
    variance = away.square().sum(0) / (count - int(released)).clamp(min=1)
    return torch.where(variance > 0, variance, 1.0).sqrt() * (variance > 0)


def permuted(x: Tensor, orders: Tensor) -> Tensor:
    """The rows of x (B, ...) in the P orders (P, B), each a permutation of range(B): (P, B, ...).

    >>> permuted(torch.tensor([5.0, 6.0, 7.0]), torch.tensor([[2, 0, 1]]))
    tensor([[7., 5., 6.]])
    """
    rows: Tensor = _Permute.apply(x, orders)  # type: ignore[no-untyped-call]
    return rows


def noisy(x: Tensor, count: int, scale: float, generator: torch.Generator, spread: Tensor | None = None) -> Tensor:
    """`count` copies of x (B, ...) with noise: x + scale eps spread, eps standard normal, (count, B, ...).

    spread: the standard deviation of each entry, (...); without it the biased one over the batch, with no gradient.
    """
    eps = torch.randn(count, *x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return x + scale * eps * (x.detach().std(0, correction=0) if spread is None else spread)


def perturbed(
    perturb: str,
    x: Tensor,
    count: int,
    scale: float,
    generator: torch.Generator,
    noise_std: str = "biased",
    having: Tensor | None = None,
) -> Tensor:
    """`count` perturbed copies (count, B, ...) of x (B, ...); of zeros there is one copy, (1, B, ...).

    perturb: begins with `permute`, `noise` or `zero`. scale: the size of the noise, in standard deviations.
    noise_std: "biased", or "released" for that of the MCR code: unbiased, with a gradient (0 for a constant entry).
    having: (B,) bool, the samples that have the modality, which are permuted among themselves and give the standard
        deviation; without it all.

    >>> perturbed("zero_latent", torch.ones(2, 1), 3, 1.0, torch.Generator())
    tensor([[[0.],
             [0.]]])
    """
    kind = perturb.partition("_")[0]
    if kind == "permute":
        return permuted(x, orders_of(count, len(x), generator, having))
    if kind == "zero":
        return torch.zeros_like(x)[None]
    released = noise_std == "released"
    if having is not None:
        return noisy(x, count, scale, generator, spread_among(x, having, released))
    return noisy(x, count, scale, generator, x.std(0) if released else None)


def orders_of(count: int, size: int, generator: torch.Generator, having: Tensor | None = None) -> Tensor:
    """`permutations`, or, if some samples lack the modality, `permutations_among`: (count, size)."""
    if having is None:
        return permutations(count, size, generator)
    return permutations_among(count, having, generator)


def perturbed_players(
    outputs: Outputs,
    inputs: Inputs,
    perturb: str,
    change: Callable[[str, Tensor], Tensor],
    dropped: Mapping[str, Tensor] = NOTHING,
) -> dict[str, Tensor]:
    """Modality -> its perturbed branch logits (P, B, C), or features (P, B, d) where the fusion head is not additive.

    perturb: the perturbation, such as `noise_input`; its end says whether latents or inputs are perturbed. Perturbed
    inputs go through the encoders again, in evaluation mode.
    change: `change(m, x)` gives the P perturbed copies (P, B, ...) of x (B, ...).
    dropped: modality -> (B,) bool, the samples of which it is dropped: features of their perturbed inputs are zeros.
    """
    model = outputs.model
    if perturb.endswith("input"):
        values = {m: change(m, x) for m, x in inputs.values.items()}
        features = {m: _encode(model, m, x, inputs.lengths.get(m)) for m, x in values.items()}
        return _players(model, features | {m: features[m].where(~no[:, None], 0.0) for m, no in dropped.items()})
    if perturb == "noise_latent":
        return _players(model, {m: change(m, f) for m, f in outputs.features.items()})
    return {m: change(m, x) for m, x in brought(outputs).items()}


def brought(outputs: Outputs) -> dict[str, Tensor]:
    """Modality -> what the fusion head gets from it: branch logits (B, C) of an additive head, or features (B, d)."""
    return outputs.branch_logits or outputs.features


def second_pass(model: MultimodalModel, batch: Batch) -> Outputs:
    """The outputs of another pass with the encoders in evaluation mode; gradients flow as usual."""
    with evaluation_mode(model.encoders):
        features = model.encode(batch.inputs)
    return model.fuse(model.drop(features, batch.dropped, present=batch.inputs.present))


def _players(model: MultimodalModel, features: dict[str, Tensor]) -> dict[str, Tensor]:
    """Modality -> branch logits (P, B, C) of features (P, B, d) if the fusion head is additive, or the features."""
    return model.fusion(features).branch_logits or features if model.fusion.additive else features


def _encode(model: MultimodalModel, modality: str, values: Tensor, lengths: Tensor | None) -> Tensor:
    """Features (P, B, d) of inputs (P, B, ...), whose lengths are (B,), in evaluation mode."""
    repeated = None if lengths is None else lengths.repeat(len(values))
    with evaluation_mode(model.encoders[modality]):
        return model.encode_one(modality, values.flatten(0, 1), repeated).reshape(*values.shape[:2], -1)
