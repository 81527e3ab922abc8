"""The encoder of sequences with which fusion heads that read tokens and stages are tried."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mcr_bench.bench.models.declared import ANY, Encoder, EncoderKind, FusionKind
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.settings.declaration import Value
from mcr_bench.bench.settings.training import EncoderSettings


class Stepped(nn.Module):
    """An encoder of sequences (B, T, D), which reads values (B, T) as such of single numbers: it has tokens and stages.

    Where no lengths are given, the last step is not real.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(channels, width), nn.Linear(width, width)

    def stages(self, values: Tensor) -> list[Tensor]:
        """Values (B, T) or (B, T, D) -> the outputs (B, T, d) of both layers."""
        hidden = torch.relu(self.first(values if values.ndim > 2 else values[..., None]))
        return [hidden, torch.relu(self.last(hidden))]

    def tokens(self, values: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Values (B, T) or (B, T, D) -> features (B, T, d) of every step, and a mask (B, T)."""
        steps = self.stages(values)[-1]
        place = torch.arange(steps.shape[1], device=values.device)
        if lengths is None:
            return steps, (place < steps.shape[1] - 1).expand(steps.shape[:2])
        return steps, place < lengths[:, None]

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Values (B, T) or (B, T, D) -> features (B, d), the mean over real steps."""
        steps, mask = self.tokens(values, lengths)
        return (steps * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def _stepped(modality: Modality, width: int, _values: Mapping[str, Value]) -> nn.Module:
    return Stepped(modality.shape[1] if len(modality.shape) > 1 else 1, width)


STEPPED = Encoder(EncoderKind("stepped", "layers on every value", _stepped, ANY, ANY, tokens=True, stages=True), {})


def fitting(encoder: EncoderSettings | Encoder, head: FusionKind) -> EncoderSettings | Encoder:
    """The encoder, or `STEPPED` where the head reads tokens or stages, which other encoders may not have."""
    return encoder if not head.reads or (isinstance(encoder, Encoder) and encoder.kind.tokens) else STEPPED
