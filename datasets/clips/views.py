"""Views of frames and of optical flow: whole batches are cropped, flipped and normalised on the training device."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mcr_bench.bench.core.device import sent
from mcr_bench.datasets.clips.crops import INCEPTION, SCALED, Boxes, Crop, crop_resize
from mcr_bench.datasets.clips.rows import View

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class _Cropped(View):
    """Clips (B, F, C, S, S), with the same crop in all frames of a clip.

    Views with the same `crop` and `random` choose the same boxes from the same generator, whatever their S. The cache
    needs a field `aspect` with one number per clip: the width of the original frames divided by their height.

    field: the field of the cache.
    size: the side of the crop in pixels.
    random: whether training crops at random; otherwise it crops as evaluation does.
    crop: the rule for cropping.
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
        """The boxes of raw clips (B, F, C, S, S) as the model sees them, (B, F, 3, size, size) float32."""


@dataclass(frozen=True)
class Frames(_Cropped):
    """RGB frames (B, F, 3, S, S) uint8 -> (B, F, 3, size, size) float32, (x / 255 - mean) / std per channel.

    mean: the mean of each colour.
    std: the standard deviation of each colour.
    """

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def _finish(self, raw: Tensor, boxes: Boxes) -> Tensor:
        x = crop_resize(raw, boxes, self.size).float()
        for plane, mean, std in zip(x.unbind(2), self.mean, self.std, strict=True):  # one pass over the memory each
            torch.add(torch.tensor(-mean / std), plane, alpha=1 / (255 * std), out=plane)
        return x


@dataclass(frozen=True)
class ScaledFrames(Frames):
    """Frames of actions with a direction: resized at random, then cut to a square; only flipped if `crop` flips."""

    crop: Crop = SCALED


@dataclass(frozen=True)
class Flow(_Cropped):
    """Optical flow as stored codes (B, F, 2, S, S) -> images (B, F, 3, size, size) float32 of u, v and zeros.

    The third channel is for encoders of images. Resizing moves the vectors and does not change them; a flip negates u.

    crop: the rule for cropping.
    zero: the code of no movement.
    unit: the movement of one step: u and v are (code - zero) * unit.
    """

    crop: Crop = SCALED
    zero: float = 0.0
    unit: float = 1.0

    def _finish(self, raw: Tensor, boxes: Boxes) -> Tensor:
        flow = crop_resize(raw, boxes, self.size).float().sub_(self.zero).mul_(self.unit)
        sign = 1 - 2 * sent(boxes.flip, flow.device).to(flow)
        flow[:, :, 0] *= sign[:, None, None, None]
        return torch.nn.functional.pad(flow, (0, 0, 0, 0, 0, 1))
