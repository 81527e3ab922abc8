"""The memory layout of images: channels last, the layout in which a GPU's convolutions are fastest."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


class LaidOut(nn.Module):
    """An encoder whose weights and images may be laid out with the channels last.

    The layout changes neither shapes nor names, and a state dict in one layout can be loaded in the other. It changes
    results only by rounding.

    channels_last: whether they are laid out so.
    """

    channels_last = False

    def lay_out(self) -> None:
        """Put the channels of weights last, and from now on those of images."""
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.channels_last = True

    def laid_out(self, values: Tensor) -> Tensor:
        """Images or clips (..., C, H, W), in the encoder's layout; other values (B, ...) as they are."""
        return channels_last(values) if self.channels_last and values.ndim >= 4 else values


def channels_last(images: Tensor) -> Tensor:
    """Images or clips (..., C, H, W) in memory as (..., H, W, C).

    >>> channels_last(torch.zeros(2, 5, 3, 8, 8)).flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    True
    """
    flat = images.flatten(0, -4).contiguous(memory_format=torch.channels_last)
    laid: Tensor = flat.unflatten(0, images.shape[:-3])
    return laid


def lay_out(encoders: nn.ModuleDict | Mapping[str, nn.Module], names: Iterable[str]) -> list[str]:
    """Lay out those encoders, by modality, among `names` that can be; returns their modalities."""
    able = {m: encoder for m in names if isinstance(encoder := encoders[m], LaidOut)}
    for encoder in able.values():
        encoder.lay_out()
    return list(able)
