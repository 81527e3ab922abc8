"""ViViT (Arnab et al., 2021) over clips of square frames."""

from mcr_bench.bench.models.backbones.declaration import pretrained
from mcr_bench.bench.models.backbones.vision import VivitEncoder

KIND = pretrained(
    "vivit",
    "ViViT over clips of square frames",
    lambda modality, out, settings: VivitEncoder(modality.shape, out, settings),
    axes=(4,),
)
