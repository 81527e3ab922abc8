"""What a fusion head is: features of N modalities -> logits, and which of its parameters belong to which modality."""

import math
from abc import abstractmethod
from typing import NamedTuple

from torch import Tensor, nn


class Fused(NamedTuple):
    """logits (B, C) and, for additive heads only, branch logits per modality (B, C) without the bias."""

    logits: Tensor
    branch_logits: dict[str, Tensor] | None


class Fusion(nn.Module):
    """A fusion head. `slices[m]` belong to modality m, everything else is shared.

    `bias` is the bias of the fused logits of an additive head, None otherwise.
    reads: what of "tokens" and "stages" its `forward` takes beside the features.
    """

    additive: bool = False
    reads: tuple[str, ...] = ()
    slices: nn.ModuleDict
    bias: nn.Parameter | None

    def __init__(self) -> None:
        super().__init__()
        self.register_parameter("bias", None)

    @abstractmethod
    def forward(self, features: dict[str, Tensor]) -> Fused:
        """Features (B, d) of every modality -> logits (B, C)."""

    def owner(self, name: str) -> str | None:
        """The modality that owns the parameter `name` (qualified inside the head), None for shared ones."""
        room, _, rest = name.partition(".")
        return rest.split(".")[0] if room == "slices" else None


def sum_of(tensors: dict[str, Tensor]) -> Tensor:
    """The sum of a non-empty dict's tensors, in its order."""
    first, *others = tensors.values()
    for tensor in others:
        first = first + tensor
    return first


def draw_bias(bias: nn.Parameter, fan_in: int) -> None:
    """Uniform within 1 / sqrt(fan in), as `nn.Linear` draws its bias."""
    nn.init.uniform_(bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))
