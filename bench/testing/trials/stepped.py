"""The encoder of sequences with which fusion heads that read tokens and stages are tried."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mcr_bench.bench.models.declared import ANY, Encoder, EncoderKind
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.settings.declaration import Value


class Stepped(nn.Module):
    """An encoder that reads values (B, D) as sequences of D steps: it gives tokens, the last not real, and stages."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(1, width), nn.Linear(width, width)

    def stages(self, values: Tensor) -> list[Tensor]:
        """Values (B, D) -> the outputs (B, D, d) of both layers."""
        hidden = torch.relu(self.first(values[..., None]))
        return [hidden, torch.relu(self.last(hidden))]

    def tokens(self, values: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Values (B, D) -> features (B, D, d) of every step, and a mask (B, D)."""
        steps = self.stages(values)[-1]
        real = torch.arange(steps.shape[1], device=values.device) < steps.shape[1] - 1
        return steps, real.expand(steps.shape[:2])

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Values (B, D) -> features (B, d), the mean over real steps."""
        return self.tokens(values)[0][:, :-1].mean(1)


def _stepped(_modality: Modality, width: int, _values: Mapping[str, Value]) -> nn.Module:
    return Stepped(width)


STEPPED = Encoder(EncoderKind("stepped", "layers on every value", _stepped, ANY, tokens=True, stages=True), {})
