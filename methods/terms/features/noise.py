"""Noisy copies of inputs or features, from which a slope of the loss is taken."""

import torch
from torch import Tensor

from mcr_bench.bench.models.multimodal import Inputs


def repeated(inputs: Inputs, times: int) -> Inputs:
    """The inputs of B samples, one batch after the other, as those of `times` B samples.

    >>> repeated(Inputs({"audio": torch.tensor([[1.0], [2.0]])}), 2).values["audio"].flatten()
    tensor([1., 2., 1., 2.])
    """

    def often(x: Tensor) -> Tensor:
        return x.repeat(times, *[1] * (x.ndim - 1))

    parts = (inputs.values, inputs.lengths, inputs.present)
    return Inputs(*({m: often(x) for m, x in part.items()} for part in parts))


def noisy(
    x: Tensor, times: int, generator: torch.Generator, having: Tensor | None = None, lengths: Tensor | None = None
) -> Tensor:
    """Copies (times B, ...) of x (B, ...) with normal noise of each value's standard deviation over the batch.

    They require a gradient, and are not leaves if x is not. No gradient flows through the deviation.

    having: (B,) bool, the samples that have the modality. lengths: (B,) int64, the real steps of padded sequences
    (B, T, ...). Other samples and padded steps neither count in the deviation nor get noise.
    """
    counts = _counts(x, having, lengths)
    scale = _deviation(x.detach(), counts) * counts
    copies, scales = (part.repeat(times, *[1] * (x.ndim - 1)) for part in (x, scale))
    made = copies + scales * torch.randn(copies.shape, generator=generator, device=x.device, dtype=x.dtype)
    return made if made.requires_grad else made.requires_grad_()


def _counts(x: Tensor, having: Tensor | None, lengths: Tensor | None) -> Tensor:
    """Which samples and steps of x (B, ...) count, (B, 1, ...), or (B, T, 1, ...) of padded sequences."""
    kept = torch.ones(len(x), dtype=torch.bool, device=x.device) if having is None else having
    kept = kept.reshape(-1, *[1] * (x.ndim - 1))
    if lengths is None:
        return kept
    real = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
    return kept & real.reshape(*real.shape, *[1] * (x.ndim - 2))


def _deviation(x: Tensor, counts: Tensor) -> Tensor:
    """The standard deviation (1, ...) of each value of x (B, ...) over the samples in which it counts; 0 of none."""
    number = counts.sum(0, keepdim=True).clamp(min=1)
    mean = torch.where(counts, x, 0.0).sum(0, keepdim=True) / number
    return (torch.where(counts, x - mean, 0.0).square().sum(0, keepdim=True) / number).sqrt()
