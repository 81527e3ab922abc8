"""OGM-GE: OGM with Gaussian noise, which replaces the gradient noise that a scaled gradient lacks."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mcr_bench.bench.fit import Batch, Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Neutral
from mcr_bench.methods.terms.on_the_fly import OnTheFly


@dataclass
class OgmGe(OnTheFly):
    """OGM, after which noise is added to every gradient g that OGM may scale: k_m g + noise N(0, (std(g) + 1e-8)^2).

    The standard deviation is over the tensor g before it is scaled. Modalities with k_m = 1 get noise too.
    With apply_to=lr the whole step is multiplied by k_m, and its noise with it.
    """

    noise: float = setting(
        1.0,
        "standard deviation of the noise, as a multiple of the gradient's",
        origin="OGM-GE code",
        at_least=0,
        space=Space(0.1, 2),
    )
    name = "ogm-ge"
    title = "OGM-GE"
    selections = ("primary",)
    neutral = (
        Neutral({"alpha": 0.0, "noise": 0.0}, "joint"),
        Neutral({"noise": 0.0}, "ogm"),
    )

    def after_backward(self, outputs: Outputs, batch: Batch) -> None:
        spreads = {m: _spreads(self._gradients(m)) for m in self.touched} if self.active else {}
        super().after_backward(outputs, batch)
        for m, stds in spreads.items():
            self.add_noise(m, stds)

    def _gradients(self, modality: str) -> list[Tensor]:
        return [p.grad for p in self.touched[modality] if p.grad is not None]

    def add_noise(self, modality: str, spreads: list[Tensor]) -> None:
        """Add noise to a modality's gradients: one draw, cut into their sizes in their fixed order."""
        gradients = self._gradients(modality)
        sizes, like = [g.numel() for g in gradients], gradients[0]
        source = self.fit.generator("noise", modality, device=like.device)
        drawn = torch.randn(sum(sizes), generator=source, device=like.device, dtype=like.dtype)
        # Each with the strides of its gradient, which may have its channels last.
        cut = zip(torch.split(drawn, sizes), gradients, strict=True)
        noises = [noise.as_strided(g.shape, g.stride(), noise.storage_offset()) for noise, g in cut]
        torch._foreach_addcmul_(gradients, noises, spreads, value=self.noise)


def _spreads(gradients: list[Tensor]) -> list[Tensor]:
    """The standard deviation () of each gradient of any shape, 0 for a single element, plus 1e-8."""
    spreads = [g.std(correction=min(1, g.numel() - 1)) for g in gradients]
    if spreads:  # an encoder that is frozen has no gradient
        torch._foreach_add_(spreads, 1e-8)
    return spreads
