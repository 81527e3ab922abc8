"""Position-wise windows: a small network on every window of a sequence, and means over parts of it."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mcr_bench.bench.models.declared import (
    OF_WINDOWS,
    SIZES,
    EncoderKind,
    Values,
    as_encoder_settings,
    encoder_settings,
)
from mcr_bench.bench.models.layers import activated
from mcr_bench.bench.models.over_time import mask_of, mean_over_parts, without_padding
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.settings.training import EncoderSettings


class WindowEncoder(nn.Module):
    """Windows of a sequence, each flattened, linear layers with ReLU, means over parts of the sequence, linear to d.

    All windows share the layers, and no window sees another one: order counts only within a window and from part to
    part. The first axis of a sample is time. Images are averaged to `pixels` x `pixels` areas first, unless that is 0.
    The last window is filled up with zeros where the steps do not fill it.
    """

    def __init__(self, shape: tuple[int, ...], out: int, settings: EncoderSettings) -> None:
        super().__init__()
        self.window, self.stride = settings.window, settings.stride or settings.window
        self.pixels, self.bins = settings.pixels if len(shape) > 2 else 0, settings.bins
        step = math.prod(shape[1:-2]) * self.pixels**2 if self.pixels else math.prod(shape[1:])
        sizes = [self.window * step] + [settings.width] * settings.depth
        self.layers = nn.ModuleList(activated(nn.Linear(a, b), settings.dropout) for a, b in pairwise(sizes))
        self.project = nn.Linear(self.bins * settings.width, out)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Samples (B, T, ...) and their lengths (B,) -> features (B, d)."""
        features: Tensor = self.project(mean_over_parts(*self._last(values, lengths), self.bins))
        return features

    def tokens(self, values: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What each part of a sequence adds to its features, (B, bins, d), and which parts hold windows, (B, bins)."""
        x, counts = self._last(values, lengths)
        parts = mean_over_parts(x, counts, self.bins).unflatten(1, (self.bins, -1))
        weight = self.project.weight.unflatten(1, (self.bins, -1))
        held = mean_over_parts(mask_of(x, counts)[..., None].to(x.dtype), counts, self.bins) > 0
        return torch.einsum("bpk,opk->bpo", parts, weight) + self.project.bias / self.bins, held

    def stages(self, values: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
        """The output of every layer on every window, (B, windows, width)."""
        x, outputs = self._windows(self._steps(values, lengths)), []
        for layer in self.layers:
            x = layer(x)
            outputs.append(x)
        return outputs

    def stage_lengths(self, lengths: Tensor) -> list[Tensor]:
        """(B,) steps of the samples -> (B,) windows of every stage that begin in them."""
        return [self._windows_in(lengths)] * len(self.layers)

    def _last(self, values: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The last layer's output (B, windows, width), and how many windows of each sample begin in its own steps."""
        counts = None if lengths is None else self._windows_in(lengths)
        return self.stages(values, lengths)[-1], counts

    def _windows_in(self, lengths: Tensor) -> Tensor:
        return 1 + -(-(lengths - self.window).clamp(min=0) // self.stride)

    def _steps(self, values: Tensor, lengths: Tensor | None) -> Tensor:
        """Samples (B, T, ...) as (B, T, K), images averaged, and padded steps 0."""
        if self.pixels:
            values = F.adaptive_avg_pool2d(values.flatten(0, -3), self.pixels).unflatten(0, values.shape[:-2])
        return without_padding(values.flatten(2), lengths)

    def _windows(self, x: Tensor) -> Tensor:
        """Steps (B, T, K) -> windows (B, W, window K), W = 1 + ceil((T - window) / stride)."""
        more = -(-max(x.shape[1] - self.window, 0) // self.stride)
        x = F.pad(x, (0, 0, 0, max(0, self.window + more * self.stride - x.shape[1])))
        return x.unfold(1, self.window, self.stride).mT.flatten(2)


def make(modality: Modality, out: int, values: Values) -> nn.Module:
    """The encoder of one modality."""
    return WindowEncoder(modality.shape, out, as_encoder_settings(values))


KIND = EncoderKind(
    name="windows",
    about="linear layers on every window of steps, means over parts of the sequence; the first axis is time",
    make=make,
    axes=(2, 3, 4),
    padded=(2, 4),
    settings=encoder_settings(*SIZES, *OF_WINDOWS),
    tokens=True,
    stages=True,
)
