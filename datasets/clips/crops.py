"""Crops of clips, chosen in the geometry of the original frames, because the stored frames are squares."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mcr_bench.bench.core.device import sent

TRIES = 10  # draws of a random crop, of which the first one that fits into the frame is used


@dataclass(frozen=True)
class Boxes:
    """One box for each of B clips.

    height: (B,) float, the height of the box as a share of the frame.
    width: (B,) float, the width of the box as a share of the frame.
    down: (B,) float from 0 to below 1, the vertical place of the box in the space that it leaves free.
    right: (B,) float from 0 to below 1, the horizontal place of the box in the space that it leaves free.
    flip: (B,) bool, whether left and right are swapped.
    """

    height: Tensor
    width: Tensor
    down: Tensor
    right: Tensor
    flip: Tensor

    def pixels(self, rows: int, columns: int) -> Tensor:
        """(B, 4) int64: top, left, height and width in pixels of a frame with this number of rows and columns."""
        height = (self.height * rows).round().long().clamp(1, rows)
        width = (self.width * columns).round().long().clamp(1, columns)
        top, left = (self.down * (rows - height + 1)).long(), (self.right * (columns - width + 1)).long()
        return torch.stack((top, left, height, width), 1)


class Crop(ABC):
    """A rule for cropping. Its methods take the aspect of B clips, (B,) float: width / height of the frames."""

    @abstractmethod
    def draw(self, aspect: Tensor, generator: torch.Generator) -> Boxes:
        """Random boxes for training, (B,) each. The number of draws depends only on the number of clips."""

    @abstractmethod
    def fixed(self, aspect: Tensor) -> Boxes:
        """The boxes for evaluation, (B,) each."""


@dataclass(frozen=True)
class RandomResizedCrop(Crop):
    """Inception's crop as in torchvision; evaluation uses the whole frame.

    The first of ten draws that fits into the frame is used; if none fits, the largest central box with a ratio in
    `ratio`. The place of the box is uniform.

    scale: the area of the box as a share of the frame is uniform between these values.
    ratio: log(width / height) is uniform between the logarithms of these values.
    flips: the probability of a flip.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flips: float = 0.5

    def draw(self, aspect: Tensor, generator: torch.Generator) -> Boxes:
        aspect = aspect.float()[:, None]
        area, shape, place = torch.rand(3, len(aspect), TRIES, generator=generator)
        area = self.scale[0] + area * (self.scale[1] - self.scale[0])
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        shape = (low + shape * (high - low)).exp()
        height, width = (area * aspect / shape).sqrt(), (area * shape / aspect).sqrt()
        fits = (height <= 1) & (width <= 1)
        first = fits.int().argmax(1, keepdim=True)
        height, width = height.gather(1, first)[:, 0], width.gather(1, first)[:, 0]
        nearest = aspect[:, 0].clamp(*self.ratio) / aspect[:, 0]  # over 1: the frame is too tall, its height is cut
        any_fits, middle = fits.any(1), torch.full_like(height, 0.5)
        return Boxes(
            torch.where(any_fits, height, 1 / nearest.clamp(min=1)),
            torch.where(any_fits, width, nearest.clamp(max=1)),
            torch.where(any_fits, place[:, 0], middle),
            torch.where(any_fits, place[:, 1], middle),
            place[:, 2] < self.flips,
        )

    def fixed(self, aspect: Tensor) -> Boxes:
        return _central(torch.ones_like(aspect), torch.ones_like(aspect))


@dataclass(frozen=True)
class ScaledCrop(Crop):
    """The frame is resized and a square is cut from it at a random place; evaluation uses the central square.

    scale: the short side of the resized frame, in sides of the crop, is uniform between these values; evaluation uses
        the lower one.
    flips: the probability of a flip.
    """

    scale: tuple[float, float] = (1.15, 1.43)
    flips: float = 0.0

    def draw(self, aspect: Tensor, generator: torch.Generator) -> Boxes:
        scale, down, right, flip = torch.rand(4, len(aspect), generator=generator)
        height, width = self._square(aspect, self.scale[0] + scale * (self.scale[1] - self.scale[0]))
        return Boxes(height, width, down, right, flip < self.flips)

    def fixed(self, aspect: Tensor) -> Boxes:
        return _central(*self._square(aspect, torch.full((len(aspect),), self.scale[0])))

    def _square(self, aspect: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        aspect = aspect.float()
        return aspect.clamp(max=1) / scale, 1 / (aspect.clamp(min=1) * scale)


INCEPTION, SCALED = RandomResizedCrop(), ScaledCrop()


def _central(height: Tensor, width: Tensor) -> Boxes:
    middle = torch.full_like(height, 0.5)
    return Boxes(height, width, middle, middle, torch.zeros(len(height), dtype=torch.bool))


def crop_resize(raw: Tensor, boxes: Boxes, size: int) -> Tensor:
    """Crop and resize clips (B, F, C, H, W) to (B, F, C, size, size) on the same device.

    All frames of a clip have the same box. Resizing is bilinear with antialiasing, as in PIL. The box is cut before it
    is resized, so that pixels outside of it have no effect. uint8 stays uint8; other dtypes become float32.

    >>> whole = ScaledCrop((1.0, 1.0)).fixed(torch.ones(1))
    >>> crop_resize(torch.zeros(1, 2, 3, 8, 8, dtype=torch.uint8), whole, 4).shape
    torch.Size([1, 2, 3, 4, 4])
    """
    pixels = boxes.pixels(*raw.shape[-2:])
    raw = raw if raw.dtype == torch.uint8 else raw.float()
    if raw.device.type == "cpu":
        return _by_clip(raw, pixels, boxes.flip, size)
    return resized_by_weights(raw, sent(pixels, raw.device), sent(boxes.flip, raw.device), size)


def _by_clip(raw: Tensor, pixels: Tensor, flip: Tensor, size: int) -> Tensor:
    """The fastest exact way on a CPU: 8-bit arithmetic over only the pixels of the box. pixels: (B, 4); flip: (B,)."""
    if (pixels == pixels[:1]).all() and not flip.any():
        return _one_box(raw, pixels[0].tolist(), size)
    out = raw.new_empty((*raw.shape[:3], size, size))
    for clip, made, box, swap in zip(raw, out, pixels.tolist(), flip.tolist(), strict=True):
        done = _one_box(clip[None], box, size)[0]
        made.copy_(done.flip(-1) if swap else done)
    return out


def _one_box(raw: Tensor, box: list[int], size: int) -> Tensor:
    """The same box of every frame (B, F, C, H, W). Planes are grouped by four, the fastest layout for PyTorch."""
    top, left, height, width = box
    if (height, width) == raw.shape[-2:] == (size, size):
        return raw
    planes = raw[..., top : top + height, left : left + width].flatten(0, 2)
    images = planes.unflatten(0, (-1, 4 if len(planes) % 4 == 0 else raw.shape[2]))
    return F.interpolate(images, (size, size), mode="bilinear", antialias=True).reshape(*raw.shape[:3], size, size)


def resized_by_weights(raw: Tensor, pixels: Tensor, flip: Tensor, size: int) -> Tensor:
    """The way for an accelerator: two batched products for the whole batch, first columns, then rows.

    raw: (B, F, C, H, W); pixels: (B, 4) int64; flip: (B,) bool. Returns (B, F, C, size, size).
    """
    batch, _, _, rows, columns = raw.shape
    top, left, height, width = pixels.unbind(1)
    across = _weights(left, width, columns, size)
    across = torch.where(flip[:, None, None], across.flip(1), across)
    x = torch.bmm(raw.reshape(batch, -1, columns).float(), across.mT).reshape(batch, -1, rows, size)
    x = torch.einsum("bij,bcjk->bcik", _weights(top, height, rows, size), x)
    if raw.dtype == torch.uint8:  # the axes of `x` change places as it becomes smaller
        x = x.round_().to(torch.uint8, memory_format=torch.contiguous_format)
    return x.reshape(*raw.shape[:3], size, size)


def _weights(start: Tensor, length: Tensor, total: int, size: int) -> Tensor:
    """(B, size, total) float: the share of each of `total` pixels in each of `size`, a triangle within the box.

    start, length: (B,) int64, the first pixel and the number of pixels of each box.
    """
    scale = (length / size)[:, None, None]
    at = torch.arange(total, device=start.device) + 0.5
    centre = start[:, None, None] + (torch.arange(size, device=start.device)[:, None] + 0.5) * scale
    inside = (at > start[:, None, None]) & (at < (start + length)[:, None, None])
    shares = (1 - (at - centre).abs() / scale.clamp(min=1)).clamp(min=0) * inside
    return shares / shares.sum(2, keepdim=True)
