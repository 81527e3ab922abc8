"""Fusion heads: features of N modalities -> logits. Late linear is additive; the others are not."""

import math
from abc import abstractmethod
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
        nn.init.uniform_(self.bias, -1 / math.sqrt(self.width), 1 / math.sqrt(self.width))

    def forward(self, features: dict[str, Tensor]) -> Fused:
        branches = {m: layer(features[m]) for m, layer in self.slices.items()}
        assert self.bias is not None
        return Fused(sum_of(branches) + self.bias, branches)


def sum_of(tensors: dict[str, Tensor]) -> Tensor:
    """The sum of a non-empty dict's tensors, in its order."""
    first, *others = tensors.values()
    for tensor in others:
        first = first + tensor
    return first


FUSIONS: dict[str, type[LateLinear]] = {"late-linear": LateLinear}


def make_fusion(kind: str, modalities: list[str], width: int, outputs: int) -> Fusion:
    """A fusion head by name; UserError for an unknown one or one that cannot join so many modalities."""
    if kind not in FUSIONS:
        raise unknown("fusion", kind, FUSIONS)
    if kind == "film" and len(modalities) != 2:
        raise UserError(f"model.fusion=film joins exactly 2 modalities, got {len(modalities)}; use gated or late-linear.")
    return FUSIONS[kind](modalities, width, outputs)
