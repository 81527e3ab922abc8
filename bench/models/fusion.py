"""What a fusion head is: features of N modalities -> logits, and which of its parameters belong to which modality."""

import math
from abc import abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from mcr_bench.bench.core.precision import full_precision, promoted


class Fused(NamedTuple):
    """What a fusion head gives for B samples.

    logits: (B, C).
    branch_logits: modality -> its share (B, C) of the logits without the bias; None if the head is not additive.
    """

    logits: Tensor
    branch_logits: dict[str, Tensor] | None


class Fusion(nn.Module):
    """A fusion head. `slices[m]` belong to modality m, everything else is shared.

    Under autocast it computes in full precision, as losses and attributions are differences of its logits; one that
    reads tokens or stages, which are large, does not. `bias` is the bias of the fused logits of an additive head, None
    otherwise.
    reads: what of "tokens" and "stages" its `forward` takes beside the features.
    """

    additive: bool = False
    reads: tuple[str, ...] = ()
    slices: nn.ModuleDict
    bias: nn.Parameter | None

    def __init__(self) -> None:
        super().__init__()
        self.register_parameter("bias", None)

    def __call__(self, features: dict[str, Tensor]) -> Fused:
        """As `forward`, with features (B, d) of less precision than float32 promoted to it."""
        if self.reads:
            read: Fused = super().__call__(features)
            return read
        with full_precision(next(iter(features.values())).device):
            fused: Fused = super().__call__({m: promoted(f) for m, f in features.items()})
        return fused

    @abstractmethod
    def forward(self, features: dict[str, Tensor]) -> Fused:
        """Features (B, d) of every modality -> logits (B, C)."""

    def owner(self, name: str) -> str | None:
        """The modality that owns the parameter `name` (qualified inside the head), None for shared ones."""
        room, _, rest = name.partition(".")
        return rest.split(".")[0] if room == "slices" else None


def sum_of(tensors: dict[str, Tensor]) -> Tensor:
    """The sum of the tensors of a dict, which have one shape (B, C), in their order.

    >>> import torch
    >>> sum_of({"audio": torch.tensor([[1.0, 2.0]]), "video": torch.tensor([[3.0, 0.0]])})
    tensor([[4., 2.]])
    """
    first, *others = tensors.values()
    for tensor in others:
        first = first + tensor
    return first


def draw_bias(bias: nn.Parameter, fan_in: int) -> None:
    """Uniform within 1 / sqrt(fan in), as `nn.Linear` draws its bias."""
    nn.init.uniform_(bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))
