"""Swin (Liu et al., 2021) on every frame."""

from mcr_bench.bench.models.backbones.declaration import pretrained
from mcr_bench.bench.models.backbones.vision import swin_encoder

KIND = pretrained(
    "swin",
    "Swin on every frame, means over space and frames",
    lambda modality, out, settings: swin_encoder(modality.shape, out, settings),
    axes=(3, 4),
    padded=(4,),
)
