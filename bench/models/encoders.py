"""Encoders of vectors, sequences, images and clips: (values, lengths) of one modality -> features (B, d)."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

KERNEL, STRIDE = 5, 2


class MLP(nn.Module):
    """Linear layers with ReLU over the flattened sample; the last layer gives the features."""

    def __init__(self, shape: tuple[int, ...], out: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        sizes = [math.prod(shape)] + [width] * (depth - 1)
        hidden = [_layer(nn.Linear(a, b), dropout) for a, b in pairwise(sizes)]
        self.layers = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(sizes[-1], out), nn.ReLU())

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        features: Tensor = self.layers(values)
        return features


class ConvSequence(nn.Module):
    """Strided 1-D convolutions with ReLU over (B, T, C), mean over each sequence's own steps, linear to (B, d)."""

    def __init__(self, channels: int, out: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        sizes = [channels] + [width] * depth
        convolutions = [nn.Conv1d(a, b, KERNEL, STRIDE, KERNEL // 2) for a, b in pairwise(sizes)]
        self.layers = nn.ModuleList(_layer(c, dropout) for c in convolutions)
        self.project = nn.Linear(width, out)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Padding is set to 0 before every layer: it then equals the border that a convolution adds by itself."""
        x = values
        for layer in self.layers:
            x = layer(without_padding(x, lengths).transpose(1, 2)).transpose(1, 2)
            lengths = None if lengths is None else (lengths + STRIDE - 1) // STRIDE
        features: Tensor = self.project(mean_over_time(x, lengths))
        return features


class FrameEncoder(nn.Module):
    """`trunk` maps frames (N, C, H, W) to (N, K, h, w); mean over space, and over frames for clips; `project` K -> d.

    Takes images (B, C, H, W) or clips (B, T, C, H, W).
    """

    def __init__(self, trunk: nn.Module, project: nn.Module) -> None:
        super().__init__()
        self.trunk, self.project = trunk, project

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        clip = values.ndim == 5
        pooled = self.trunk(values.flatten(0, 1) if clip else values).mean((-2, -1))
        if clip:
            pooled = mean_over_time(pooled.unflatten(0, values.shape[:2]), lengths)
        features: Tensor = self.project(pooled)
        return features


def conv2d_encoder(channels: int, out: int, width: int, depth: int, dropout: float) -> FrameEncoder:
    """Strided 2-D convolutions with ReLU, for small images and clips."""
    sizes = [channels] + [width] * depth
    convolutions = [nn.Conv2d(a, b, KERNEL, STRIDE, KERNEL // 2) for a, b in pairwise(sizes)]
    return FrameEncoder(nn.Sequential(*(_layer(c, dropout) for c in convolutions)), nn.Linear(width, out))


def time_mask(lengths: Tensor, steps: int) -> Tensor:
    """(B, T) bool, True on a sequence's own steps; an empty sequence keeps its first step, so that its mean exists."""
    return torch.arange(steps, device=lengths.device) < lengths.clamp(min=1)[:, None]


def without_padding(x: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, T, K) with 0 after the end of each sequence, whatever the padding held."""
    return x if lengths is None else x.masked_fill(~time_mask(lengths, x.shape[1])[..., None], 0.0)


def mean_over_time(x: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, T, K) -> (B, K): the mean over each sequence's own steps."""
    if lengths is None:
        return x.mean(1)
    return without_padding(x, lengths).sum(1) / lengths.clamp(1, x.shape[1])[:, None]


def _layer(linear: nn.Module, dropout: float) -> nn.Sequential:
    return nn.Sequential(linear, nn.ReLU(), *([nn.Dropout(dropout)] if dropout else []))
