"""Convolutions over small images, and over every frame of small clips."""

from itertools import pairwise

from torch import nn

from mcr_bench.bench.models.declared import SIZES, EncoderKind, Values, as_encoder_settings, encoder_settings
from mcr_bench.bench.models.frames import FrameEncoder
from mcr_bench.bench.models.layers import STRIDE, activated, draw_he
from mcr_bench.bench.problem.facts import Modality

KERNEL = 5


class Convolution2d(nn.Conv2d):
    """A strided convolution over an image, He normal as `conv1d`'s: without it, deeper stacks lose the signal."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(channels, out, KERNEL, STRIDE, KERNEL // 2)

    def reset_parameters(self) -> None:
        """He normal weights (fan in), zero bias."""
        draw_he(self)


def conv2d_encoder(channels: int, out: int, width: int, depth: int, dropout: float) -> FrameEncoder:
    """Strided 2-D convolutions with ReLU, for small images and clips."""
    sizes = [channels] + [width] * depth
    trunk = nn.Sequential(*(activated(Convolution2d(a, b), dropout) for a, b in pairwise(sizes)))
    return FrameEncoder(trunk, nn.Linear(width, out), range(depth))


def make(modality: Modality, out: int, values: Values) -> nn.Module:
    """The encoder of one modality."""
    settings = as_encoder_settings(values)
    return conv2d_encoder(modality.shape[-3], out, settings.width, settings.depth, settings.dropout)


KIND = EncoderKind(
    name="conv2d",
    about="strided 2-D convolutions on every frame, means over space and frames",
    make=make,
    axes=(3, 4),
    padded=(4,),
    auto=(3, 4),
    auto_padded=(4,),
    settings=encoder_settings(*SIZES),
    tokens=True,
    stages=True,
    channels_last=True,
)
