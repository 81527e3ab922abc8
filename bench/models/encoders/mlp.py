"""A multi-layer perceptron over the flattened sample."""

import math
from itertools import pairwise

from torch import Tensor, nn

from mcr_bench.bench.models.declared import ANY, SIZES, EncoderKind, Values, as_encoder_settings, encoder_settings
from mcr_bench.bench.models.layers import activated
from mcr_bench.bench.models.over_time import mask_of
from mcr_bench.bench.problem.facts import Modality


class MLP(nn.Module):
    """Linear layers with ReLU over the flattened sample; the last layer gives the features."""

    def __init__(self, shape: tuple[int, ...], out: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        sizes = [math.prod(shape)] + [width] * (depth - 1)
        hidden = [activated(nn.Linear(a, b), dropout) for a, b in pairwise(sizes)]
        self.layers = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(sizes[-1], out), nn.ReLU())

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Values (B, ...) -> features (B, d)."""
        features: Tensor = self.layers(values)
        return features

    def tokens(self, values: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The features as one token, (B, 1, d), and its mask (B, 1): a flattened sample has no parts."""
        token = self(values)[:, None]
        return token, mask_of(token, None)

    def stages(self, values: Tensor) -> list[Tensor]:
        """The output (B, K) of every layer; the last are the features."""
        x, outputs = values, []
        for layer in self.layers:
            x = layer(x)
            if not isinstance(layer, nn.Flatten):
                outputs.append(x)
        return [*outputs[:-2], outputs[-1]]  # the last linear layer and its ReLU are one stage


def make(modality: Modality, out: int, values: Values) -> nn.Module:
    """The encoder of one modality."""
    settings = as_encoder_settings(values)
    return MLP(modality.shape, out, settings.width, settings.depth, settings.dropout)


KIND = EncoderKind(
    name="mlp",
    about="linear layers with ReLU over the flattened sample",
    make=make,
    axes=ANY,
    auto=(1,),
    settings=encoder_settings(*SIZES),
    tokens=True,
    stages=True,
)
