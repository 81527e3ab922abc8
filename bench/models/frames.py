"""Encoders of images and clips: a trunk on every frame, means over space and frames, one projection."""

from collections.abc import Iterable
from itertools import islice

from torch import Tensor, nn

from mcr_bench.bench.models.layout import LaidOut
from mcr_bench.bench.models.over_time import mask_of, mean_over_time

Part = tuple[Tensor, Tensor]


class FrameEncoder(LaidOut):
    """`trunk` maps frames (N, C, H, W) to (N, K, h, w); mean over space, and over frames for clips; `project` K -> d.

    Takes images (B, C, H, W) or clips (B, T, C, H, W). ends: the layers of the trunk, counted from 0, whose outputs are
    its stages.
    """

    def __init__(self, trunk: nn.Module, project: nn.Module, ends: Iterable[int] = ()) -> None:
        super().__init__()
        self.trunk, self.project, self.ends = trunk, project, tuple(ends)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Images (B, C, H, W) or clips (B, T, C, H, W) -> features (B, d)."""
        clip, values = values.ndim == 5, self.laid_out(values)
        pooled = self.trunk(values.flatten(0, 1) if clip else values).mean((-2, -1))
        if clip:
            pooled = mean_over_time(pooled.unflatten(0, values.shape[:2]), lengths)
        features: Tensor = self.project(pooled)
        return features

    def tokens(self, values: Tensor, lengths: Tensor | None = None) -> Part:
        """Features (B, T h w, d) of every place of every frame, and a mask (B, T h w) of the frames that are real."""
        clip = self.laid_out(values if values.ndim == 5 else values[:, None])
        places = self.trunk(clip.flatten(0, 1)).flatten(2).mT.unflatten(0, clip.shape[:2])
        mask = mask_of(places, lengths)[..., None].expand(places.shape[:3])
        return self.project(places.flatten(1, 2)), mask.flatten(1)

    def stages(self, values: Tensor) -> list[Tensor]:
        """The trunk's outputs after each of its stages, (B, K, h, w) for images and (B, T, K, h, w) for clips."""
        x, outputs = self.laid_out(values.flatten(0, 1) if values.ndim == 5 else values), []
        for place, layer in enumerate(islice(self.trunk.children(), max(self.ends) + 1)):
            x = layer(x)
            if place in self.ends:
                outputs.append(x.contiguous())  # a head that reads stages may `view` them
        return [y.unflatten(0, values.shape[:2]) for y in outputs] if values.ndim == 5 else outputs
