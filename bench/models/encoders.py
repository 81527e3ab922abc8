"""Encoders of vectors, sequences, images and clips: (values, lengths) of one modality -> features (B, d)."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

SEQUENCE_KERNEL, IMAGE_KERNEL, STRIDE = 9, 5, 2
PARTS = 8  # chosen on the validation part of UTD-MHAD: one mean over time loses which way a movement goes


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


class Convolution1d(nn.Conv1d):
    """A strided convolution over time, He normal: without normalisation, deeper stacks otherwise lose the signal."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(channels, out, SEQUENCE_KERNEL, STRIDE, SEQUENCE_KERNEL // 2)

    def reset_parameters(self) -> None:
        _draw_he(self)


class Convolution2d(nn.Conv2d):
    """A strided convolution over an image, drawn as `Convolution1d` is."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(channels, out, IMAGE_KERNEL, STRIDE, IMAGE_KERNEL // 2)

    def reset_parameters(self) -> None:
        _draw_he(self)


class ConvSequence(nn.Module):
    """Strided 1-D convolutions with ReLU over (B, T, C), means over eighths of the own steps, linear to (B, d).

    Eighths keep what one mean over time loses: whether a movement goes up or down.
    """

    def __init__(self, channels: int, out: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        sizes = [channels] + [width] * depth
        self.layers = nn.ModuleList(_layer(Convolution1d(a, b), dropout) for a, b in pairwise(sizes))
        self.project = nn.Linear(PARTS * width, out)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Padding is set to 0 before every layer: it then equals the border that a convolution adds by itself."""
        x = values
        for layer in self.layers:
            x = layer(without_padding(x, lengths).transpose(1, 2)).transpose(1, 2)
            lengths = None if lengths is None else (lengths + STRIDE - 1) // STRIDE
        features: Tensor = self.project(mean_over_parts(x, lengths))
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
    trunk = nn.Sequential(*(_layer(Convolution2d(a, b), dropout) for a, b in pairwise(sizes)))
    return FrameEncoder(trunk, nn.Linear(width, out))


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


def mean_over_parts(x: Tensor, lengths: Tensor | None, parts: int = PARTS) -> Tensor:
    """(B, T, K) -> (B, parts K): means over equal parts of each sequence's own steps; 0 for a part without a step."""
    steps = x.shape[1]
    own = torch.full((1,), steps, device=x.device) if lengths is None else lengths.clamp(1, steps)
    part = torch.arange(steps, device=x.device) * parts // own[:, None]
    member = (part[:, None] == torch.arange(parts, device=x.device)[:, None]).to(x.dtype)
    return (member @ x / member.sum(2, keepdim=True).clamp(min=1)).flatten(1)


def _draw_he(convolution: nn.Conv1d | nn.Conv2d) -> None:
    """He normal weights (fan in), zero bias."""
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)


def _layer(linear: nn.Module, dropout: float) -> nn.Sequential:
    return nn.Sequential(linear, nn.ReLU(), *([nn.Dropout(dropout)] if dropout else []))
