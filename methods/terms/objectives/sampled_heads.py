"""Gradients of losses with respect to features, as heads vary that are drawn around the present ones."""

from collections.abc import Callable, Mapping
from functools import partial, reduce
from operator import add
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mcr_bench.bench.core.precision import full_precision, promoted
from mcr_bench.bench.fit import Batch, MultimodalModel, State
from mcr_bench.bench.models.fusion import Fusion
from mcr_bench.methods.terms.losses import loss_of

SMALLEST = 1e-20  # added to a variance, so that two variances of 0 weigh the same
Loss = Callable[[nn.Module, dict[str, Tensor]], Tensor]  # (the heads, features (B, d) of every modality) -> loss ()


def certainty(fused: Tensor, own: Tensor) -> Tensor:
    """The weight (d,) of the fused gradient, w = (1 / v_f) / (1 / v_f + 1 / v_o), of draws (S, B, d) of both.

    v are the variances over the draws of the gradients' sums over the batch, for each dimension. The weight of the own
    gradient is 1 - w; where neither varies, both are one half.

    >>> certainty(torch.tensor([[[1.0]], [[3.0]]]), torch.tensor([[[1.0]], [[7.0]]]))
    tensor([0.9000])
    """
    of_fused, of_own = (x.sum(1).var(0, correction=0) + SMALLEST for x in (fused, own))
    return of_own / (of_fused + of_own)


class Spread:
    """How far the parameters of heads may be from their values: a normal distribution with a diagonal Fisher matrix.

    The variance of a parameter is 1 / (N h + prior), where h is the running mean of its squared gradient.

    squares: name -> h, in the shape of the parameter; empty before the first step.
    """

    def __init__(self, count: int, prior: float, memory: float) -> None:
        self.count, self.prior, self.memory = count, prior, memory
        self.squares: State = {}

    def add(self, gradients: Mapping[str, Tensor]) -> None:
        """Take the gradients of a step, by the parameters' names, into the running means."""
        for name, gradient in gradients.items():
            square = gradient.detach().square()
            before = self.squares.get(name)
            before = torch.zeros_like(square) if before is None else before.to(square)
            self.squares[name] = before.lerp(square, 1 - self.memory)

    def around(self, name: str, value: Tensor, draws: int, factor: float, source: torch.Generator) -> Tensor:
        """S draws (S, ...) around the value of a parameter, whose standard deviation is `factor` times its own."""
        noise = torch.randn((draws, *value.shape), generator=source, device=value.device, dtype=value.dtype)
        return value + factor * self.deviation(name, value) * noise

    def deviation(self, name: str, parameter: Tensor) -> Tensor:
        """The standard deviation of a parameter, in its shape."""
        known = self.squares.get(name)
        square = torch.zeros_like(parameter) if known is None else known.to(parameter)
        return (self.count * square + self.prior).rsqrt()


def heads_of(model: MultimodalModel) -> nn.ModuleDict:
    """The heads that are drawn: the fusion head and the own heads."""
    return nn.ModuleDict({"fusion": model.fusion, "own_heads": model.own_heads})


def both_gradients(
    model: MultimodalModel, draws: Mapping[str, Tensor], features: Mapping[str, Tensor], batch: Batch
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The gradients of the fused loss, and of the sum of the own heads' losses, as `feature_gradients` gives them.

    draws: name of a parameter of `heads_of` the model -> its S values (S, ...). features: modality -> (B, d).
    """
    task, heads = model.task, heads_of(model)

    def fused(drawn: nn.Module, leaves: dict[str, Tensor]) -> Tensor:
        fusion = cast(Fusion, cast(nn.ModuleDict, drawn)["fusion"])
        return task.loss(fusion(leaves).logits, batch.target)

    def own(drawn: nn.Module, leaves: dict[str, Tensor]) -> Tensor:
        alone = cast(nn.ModuleDict, cast(nn.ModuleDict, drawn)["own_heads"])
        logits = {m: alone[m](f) for m, f in leaves.items()}
        return reduce(add, (loss_of(task, z, batch.target_of(m), batch.having.get(m)) for m, z in logits.items()))

    whole = {m: promoted(f) for m, f in features.items()}
    with full_precision(batch.target.device):
        return feature_gradients(heads, draws, whole, fused), feature_gradients(heads, draws, whole, own)


def feature_gradients(
    heads: nn.Module, draws: Mapping[str, Tensor], features: Mapping[str, Tensor], loss: Loss
) -> dict[str, Tensor]:
    """Modality -> the gradients (S, B, d) of a loss with respect to its features (B, d), for each of S draws.

    draws: name of a parameter of the heads -> its S values (S, ...). The loss is called with heads that have them.
    """
    leaves = {m: f.detach().requires_grad_() for m, f in features.items()}
    calling, rows = Calling(heads, loss), []
    for number in range(len(next(iter(draws.values())))):
        drawn = {f"heads.{name}": values[number] for name, values in draws.items()}
        with torch.enable_grad():
            value: Tensor = functional_call(calling, drawn, (leaves,))
        rows.append(torch.autograd.grad(value, list(leaves.values()), materialize_grads=True))
    return {m: torch.stack(each) for m, each in zip(leaves, zip(*rows, strict=True), strict=True)}


class Calling(nn.Module):
    """The heads, and the loss that is computed with them."""

    def __init__(self, heads: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.heads, self.loss = heads, loss

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Features (B, d) of every modality -> the loss ()."""
        return self.loss(self.heads, features)


def replace_gradient(feature: Tensor, gradient: Tensor) -> None:
    """Let the backward pass hand on this gradient (B, d) of a feature (B, d) in place of the one that it computes."""
    if feature.requires_grad:
        feature.register_hook(partial(_instead, gradient.to(feature)))


def _instead(gradient: Tensor, _plain: Tensor) -> Tensor:
    return gradient
