"""Encoders whose stages are run one after the other, so that something may happen between them."""

from collections.abc import Generator
from itertools import pairwise

from torch import Tensor, nn

from mcr_bench.bench.models.encoders.conv1d import ConvSequence
from mcr_bench.bench.models.encoders.mlp import MLP
from mcr_bench.bench.models.frames import FrameEncoder
from mcr_bench.bench.models.over_time import mean_over_parts, mean_over_time, without_padding

Steps = Generator[Tensor, Tensor, Tensor]


def stage_channels(encoder: nn.Module, width: int) -> list[int]:
    """The channels K of every stage that `stagewise` stops at; of an encoder of another kind, its `width` features.

    >>> stage_channels(MLP((4,), 6, 9, 3, 0.0), 6)
    [9, 9, 6]
    """
    if isinstance(encoder, FrameEncoder) and encoder.ends:
        layers = list(encoder.trunk.children())
        starts = [0, *(end + 1 for end in encoder.ends)]
        return [_channels(nn.Sequential(*layers[a:b])) for a, b in pairwise(starts)]
    if isinstance(encoder, ConvSequence):
        return [_channels(layer) for layer in encoder.layers]
    if isinstance(encoder, MLP):
        return [*map(_channels, list(encoder.layers)[1:-2]), width]
    return [width]


def _channels(part: nn.Module) -> int:
    """What the last layer of a part that has a number of outputs gives."""
    sizes = [getattr(layer, key, None) for layer in part.modules() for key in ("out_channels", "out_features")]
    return int([size for size in sizes if size is not None][-1])


def stagewise(encoder: nn.Module, values: Tensor, lengths: Tensor | None) -> Steps:
    """Run an encoder on values (B, ...) and stop after every stage: yields its output as one vector (B, K).

    It takes factors (B, K) by which the stage is multiplied before the next one, and returns the features (B, d); with
    factors of 1 they are those of the encoder. An encoder of another kind than those of the harness has one stage, its
    features.

    >>> import torch
    >>> run = stagewise(MLP((4,), 6, 9, 2, 0.0), torch.zeros(5, 4), None)
    >>> next(run).shape, run.send(torch.ones(5, 9)).shape
    (torch.Size([5, 9]), torch.Size([5, 6]))
    """
    if isinstance(encoder, FrameEncoder) and encoder.ends:
        return _of_frames(encoder, values, lengths)
    if isinstance(encoder, ConvSequence):
        return _of_sequence(encoder, values, lengths)
    return _of_vectors(encoder, values) if isinstance(encoder, MLP) else _of_features(encoder, values, lengths)


def after(run: Steps, factors: Tensor) -> Tensor:
    """What follows the stage that a run has stopped at: the next one as one vector (B, K), or the features (B, d).

    >>> import torch
    >>> run = stagewise(MLP((2,), 3, 4, 1, 0.0), torch.ones(1, 2), None)
    >>> after(run, torch.zeros_like(next(run)))
    tensor([[0., 0., 0.]], grad_fn=<MulBackward0>)
    """
    try:
        return run.send(factors)
    except StopIteration as end:
        features: Tensor = end.value
        return features


def _of_frames(encoder: FrameEncoder, values: Tensor, lengths: Tensor | None) -> Steps:
    clip, values = values.ndim == 5, encoder.laid_out(values)
    frames = values.shape[1] if clip else 1
    x = values.flatten(0, 1) if clip else values
    for place, layer in enumerate(encoder.trunk.children()):
        x = layer(x)
        if place in encoder.ends:
            factors = yield _over_frames(x, frames, clip, lengths)
            x = x * factors.repeat_interleave(frames, 0)[..., None, None]
    features: Tensor = encoder.project(_over_frames(x, frames, clip, lengths))
    return features


def _over_frames(x: Tensor, frames: int, clip: bool, lengths: Tensor | None) -> Tensor:
    """(B T, K, h, w) -> (B, K), the mean over space, and over each clip's own frames."""
    pooled = x.mean((-2, -1))
    return mean_over_time(pooled.unflatten(0, (-1, frames)), lengths) if clip else pooled


def _of_sequence(encoder: ConvSequence, values: Tensor, lengths: Tensor | None) -> Steps:
    x = values
    after = [None] * len(encoder.layers) if lengths is None else encoder.stage_lengths(lengths)
    for layer, left in zip(encoder.layers, after, strict=True):
        x, lengths = layer(without_padding(x, lengths).transpose(1, 2)).transpose(1, 2), left
        factors = yield mean_over_time(x, lengths)
        x = x * factors[:, None]
    features: Tensor = encoder.project(mean_over_parts(x, lengths))
    return features


def _of_vectors(encoder: MLP, values: Tensor) -> Steps:
    flatten, *hidden, last, activation = encoder.layers
    x = flatten(values)
    for layer in hidden:
        x = layer(x)
        x = x * (yield x)
    features: Tensor = activation(last(x))
    return features * (yield features)


def _of_features(encoder: nn.Module, values: Tensor, lengths: Tensor | None) -> Steps:
    features: Tensor = encoder(values, lengths)
    return features * (yield features)
