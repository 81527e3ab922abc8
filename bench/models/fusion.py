"""Fusion heads: features of N modalities -> logits. Late linear is additive; the others are not."""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError, unknown


class Fused(NamedTuple):
    """logits (B, C) and, for additive heads only, branch logits per modality (B, C) without the bias."""

    logits: Tensor
    branch_logits: dict[str, Tensor] | None


class Fusion(nn.Module):
    """A fusion head. `slices[m]` belong to modality m, everything else is shared.

    `bias` is the bias of the fused logits of an additive head, None otherwise.
    """

    additive = False
    slices: nn.ModuleDict
    bias: nn.Parameter | None

    def __init__(self) -> None:
        super().__init__()
        self.register_parameter("bias", None)

    @abstractmethod
    def forward(self, features: dict[str, Tensor]) -> Fused: ...

    def owner(self, name: str) -> str | None:
        """The modality that owns the parameter `name` (qualified inside the head), None for shared ones."""
        room, _, rest = name.partition(".")
        return rest.split(".")[0] if room == "slices" else None


class LateLinear(Fusion):
    """z = sum_m f_m W_m^T + b: the head of the MCR paper's main results and of MLB's code."""

    additive = True

    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        super().__init__()
        self.width = width
        self.slices = nn.ModuleDict({m: nn.Linear(width, outputs, bias=False) for m in modalities})
        self.bias = nn.Parameter(torch.empty(outputs))

    def reset_parameters(self) -> None:
        """The bias as in a linear layer of one modality's width; the slices reset themselves."""
        assert self.bias is not None
        draw_bias(self.bias, self.width)

    def forward(self, features: dict[str, Tensor]) -> Fused:
        branches = {m: layer(features[m]) for m, layer in self.slices.items()}
        assert self.bias is not None
        return Fused(sum_of(branches) + self.bias, branches)


class ConcatMLP(Fusion):
    """z = W relu(sum_m V_m f_m + c) + b: a two-layer network over the concatenated features.

    The first layer is held as one slice per modality, so that the order of the modalities does not matter.
    """

    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        super().__init__()
        self.width = width
        self.slices = nn.ModuleDict({m: nn.Linear(width, width, bias=False) for m in modalities})
        self.hidden_bias = nn.Parameter(torch.empty(width))
        self.output = nn.Linear(width, outputs)

    def reset_parameters(self) -> None:
        """The hidden bias as in a linear layer of one modality's width."""
        draw_bias(self.hidden_bias, self.width)

    def forward(self, features: dict[str, Tensor]) -> Fused:
        hidden = sum_of({m: layer(features[m]) for m, layer in self.slices.items()}) + self.hidden_bias
        return Fused(self.output(hidden.relu()), None)


class ValueAndGate(nn.Module):
    """One modality's share of the gated head: (B, d) -> values (B, d) and gate scores (B, d)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value = nn.Linear(width, width)
        self.gate = nn.Linear(width, width)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.value(features), self.gate(features)


class Gated(Fusion):
    """z = W sum_m g_m * V_m f_m + b, elementwise gates g = softmax over modalities of G_m f_m: symmetric over M."""

    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        super().__init__()
        self.slices = nn.ModuleDict({m: ValueAndGate(width) for m in modalities})
        self.output = nn.Linear(width, outputs)

    def forward(self, features: dict[str, Tensor]) -> Fused:
        pairs = [layer(features[m]) for m, layer in self.slices.items()]
        values, scores = (torch.stack(parts) for parts in zip(*pairs, strict=True))
        return Fused(self.output((scores.softmax(0) * values).sum(0)), None)


class FiLM(Fusion):
    """z = W (gamma * V f + beta) + b with (gamma, beta) linear in the conditioning modality's features; M = 2.

    Feature-wise linear modulation (Perez et al., 2018), gamma used as it is.
    """

    def __init__(self, conditioning: str, conditioned: str, width: int, outputs: int) -> None:
        super().__init__()
        self.conditioning, self.conditioned = conditioning, conditioned
        self.slices = nn.ModuleDict({conditioning: nn.Linear(width, 2 * width), conditioned: nn.Linear(width, width)})
        self.output = nn.Linear(width, outputs)

    def forward(self, features: dict[str, Tensor]) -> Fused:
        gamma, beta = self.slices[self.conditioning](features[self.conditioning]).chunk(2, -1)
        hidden = gamma * self.slices[self.conditioned](features[self.conditioned]) + beta
        return Fused(self.output(hidden), None)


def sum_of(tensors: dict[str, Tensor]) -> Tensor:
    """The sum of a non-empty dict's tensors, in its order."""
    first, *others = tensors.values()
    for tensor in others:
        first = first + tensor
    return first


def draw_bias(bias: nn.Parameter, fan_in: int) -> None:
    """Uniform within 1 / sqrt(fan in), as `nn.Linear` draws its bias."""
    nn.init.uniform_(bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))


FUSIONS: dict[str, Callable[[list[str], int, int], Fusion]] = {
    "late-linear": LateLinear,
    "concat-mlp": ConcatMLP,
    "gated": Gated,
}


def make_fusion(kind: str, modalities: list[str], width: int, outputs: int, conditioning: str = "") -> Fusion:
    """A fusion head by name; UserError for an unknown one or one that cannot join these modalities.

    `conditioning` is read by film only. A single modality has nothing to condition: film is late-linear there, so
    that unimodal runs can stand beside film runs.
    """
    if kind == "film" and len(modalities) > 1:
        return _make_film(modalities, width, outputs, conditioning or modalities[0])
    if kind != "film" and kind not in FUSIONS:
        raise unknown("fusion", kind, (*FUSIONS, "film"))
    return FUSIONS.get(kind, LateLinear)(modalities, width, outputs)


def _make_film(modalities: list[str], width: int, outputs: int, conditioning: str) -> FiLM:
    if len(modalities) != 2:
        raise UserError(
            f"model.fusion=film joins exactly 2 modalities, got {len(modalities)}; use gated or late-linear."
        )
    if conditioning not in modalities:
        raise unknown("modality in model.conditioning", conditioning, modalities)
    conditioned = next(m for m in modalities if m != conditioning)
    return FiLM(conditioning, conditioned, width, outputs)
