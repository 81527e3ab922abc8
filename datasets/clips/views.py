"""Views of frames and of optical flow: batches cropped, flipped and normalised as a whole, on the training device."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mcr_bench.datasets.clips.crops import INCEPTION, SCALED, Boxes, Crop, crop_resize
from mcr_bench.datasets.clips.rows import View

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class _Cropped(View):
    """Clips (B, F, C, S, S), cropped alike in all frames of a clip. Views with the same `crop` and `random` crop alike
    from the same generator, whatever their S. random: whether training crops at random, or as evaluation does.

    The cache has a field `aspect` of one number per clip: width over height of the original frames.
    """

    field: str
    size: int = 224
    random: bool = True
    crop: Crop = INCEPTION
    scalars: ClassVar[tuple[str, ...]] = ("aspect",)

    def evaluate(self, raw: Tensor, facts: dict[str, Tensor]) -> Tensor:
        return self._finish(raw, self.crop.fixed(facts["aspect"]))

    def augment(self, raw: Tensor, facts: dict[str, Tensor], generator: torch.Generator) -> Tensor:
        aspect = facts["aspect"]
        return self._finish(raw, self.crop.draw(aspect, generator) if self.random else self.crop.fixed(aspect))

    def shape(self, raw: tuple[int, ...]) -> tuple[int, ...]:
        return (raw[0], 3, self.size, self.size)

    @abstractmethod
    def _finish(self, raw: Tensor, boxes: Boxes) -> Tensor:
        """The boxes of `raw` as a model sees them."""


@dataclass(frozen=True)
class Frames(_Cropped):
    """uint8 RGB frames (B, F, 3, S, S) -> float32 (B, F, 3, size, size), (x / 255 - mean) / std per channel."""

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def _finish(self, raw: Tensor, boxes: Boxes) -> Tensor:
        x = crop_resize(raw, boxes, self.size).float()
        for plane, mean, std in zip(x.unbind(2), self.mean, self.std, strict=True):  # one pass over the memory each
            torch.add(torch.tensor(-mean / std), plane, alpha=1 / (255 * std), out=plane)
        return x


@dataclass(frozen=True)
class ScaledFrames(Frames):
    """Frames for actions with a direction: random resize, then a square; never flipped unless `crop` says so."""

    crop: Crop = SCALED


@dataclass(frozen=True)
class Flow(_Cropped):
    """Optical flow (B, F, 2, S, S) of stored numbers -> float32 (B, F, 3, size, size): u and v, (x - zero) * unit, and
    a third channel of zeros, for encoders of images. A flip negates u. Resizing moves the vectors, and keeps them.
    """

    crop: Crop = SCALED
    zero: float = 0.0
    unit: float = 1.0

    def _finish(self, raw: Tensor, boxes: Boxes) -> Tensor:
        flow = crop_resize(raw, boxes, self.size).float().sub_(self.zero).mul_(self.unit)
        sign = 1 - 2 * boxes.flip.to(flow)
        flow[:, :, 0] *= sign[:, None, None, None]
        return torch.nn.functional.pad(flow, (0, 0, 0, 0, 0, 1))
