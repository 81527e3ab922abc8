"""Encoders: one modality's input -> features (B, d). Every encoder takes (values, lengths)."""

from torch import Tensor, nn


class MLP(nn.Module):
    """Two or more linear layers with ReLU over the flattened sample; the last layer gives the features."""

    def __init__(self, shape: tuple[int, ...], out: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        size = 1
        for n in shape:
            size *= n
        layers: list[nn.Module] = [nn.Flatten()]
        for _ in range(depth - 1):
            layers += [nn.Linear(size, width), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
            size = width
        self.layers = nn.Sequential(*layers, nn.Linear(size, out), nn.ReLU())

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        features: Tensor = self.layers(values)
        return features
