"""Encoders and fusion heads of a stranger: as text for files, and small array files that they are tried on."""

from pathlib import Path

import numpy as np

VECTORS = '''"""Nets for vectors and sequences."""
import math

import torch
from torch import nn


class Scaled(nn.Module):
    """Features of a learned scale and linear layers."""

    def __init__(self, shape, width, depth: int = 2, rate=0.0):
        super().__init__()
        size = math.prod(shape)
        self.scale = nn.Parameter(torch.randn(size))
        sizes = [size] + [width] * depth
        layers = [layer for a, b in zip(sizes, sizes[1:]) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.layers = nn.Sequential(*layers, nn.Dropout(rate))

    def forward(self, x):
        return self.layers(x.flatten(1) * self.scale)


class Steps(nn.Module):
    """A GRU whose steps are tokens."""

    axes = (2,)

    def __init__(self, shape, width, layers: int = 1):
        super().__init__()
        self.gru = nn.GRU(shape[-1], width, layers, batch_first=True)

    def forward(self, x, lengths=None):
        tokens, mask = self.tokens(x, lengths)
        weight = mask[..., None].to(tokens)
        return (tokens * weight).sum(1) / weight.sum(1).clamp(min=1)

    def tokens(self, x, lengths=None):
        own = torch.full((len(x),), x.shape[1], device=x.device) if lengths is None else lengths
        return self.gru(x)[0], torch.arange(x.shape[1], device=x.device) < own[:, None]

    def stages(self, x):
        return [x, self.gru(x)[0]]
'''
HEADS = '''"""Heads."""
import torch
from torch import nn


class Weighted(nn.Module):
    """An additive head with a bias of its own."""

    additive = True

    def __init__(self, modalities, width, outputs, weight: float = 1.0):
        super().__init__()
        self.weight = weight
        self.slices = nn.ModuleDict({m: nn.Linear(width, outputs, bias=False) for m in modalities})
        self.bias = nn.Parameter(torch.zeros(outputs))

    def branches(self, features):
        return {m: self.weight * layer(features[m]) for m, layer in self.slices.items()}

    def forward(self, features, tokens=None):
        return sum(self.branches(features).values()) + self.bias


class Product(nn.Module):
    """The product of all features."""

    def __init__(self, modalities, width, outputs):
        super().__init__()
        self.slices = nn.ModuleDict({m: nn.Linear(width, width) for m in modalities})
        self.out = nn.Linear(width, outputs)

    def forward(self, features, tokens):
        product = 1
        for m, layer in self.slices.items():
            product = product * (1 + layer(features[m]))
        return self.out(product)


class Attending(nn.Module):
    """Attention over the tokens of all modalities."""

    def __init__(self, modalities, width, outputs):
        super().__init__()
        self.score, self.out = nn.Linear(width, 1), nn.Linear(width, outputs)

    def forward(self, features, tokens):
        values = torch.cat([t for t, _ in tokens.values()], 1)
        mask = torch.cat([m for _, m in tokens.values()], 1)
        share = self.score(values)[..., 0].masked_fill(~mask, -1e9).softmax(1)
        return self.out((share[..., None] * values).sum(1))
'''


def write_nets(folder: Path) -> tuple[str, str]:
    """(file of nets, file of heads), written below `folder`."""
    (folder / "nets.py").write_text(VECTORS)
    (folder / "heads.py").write_text(HEADS)
    return str(folder / "nets.py"), str(folder / "heads.py")


def write_data(path: Path, modalities: int = 2) -> str:
    """An array file of 60 samples: a vector, a sequence, and with a third modality a padded sequence."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    shapes = {"voice": (5,), "face": (6, 4), "pose": (7, 3)}
    arrays = {f"x_{m}": rng.normal(size=(60, *s)).astype("float32") for m, s in list(shapes.items())[:modalities]}
    arrays = {name: x + y.reshape(-1, *[1] * (x.ndim - 1)) for name, x in arrays.items()}
    lengths = {"length_pose": rng.integers(1, 8, 60)} if modalities > 2 else {}
    np.savez(path, y=y, split=np.repeat(["train", "val", "test"], 20), **arrays, **lengths)
    return str(path)
