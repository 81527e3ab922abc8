"""On-the-fly gradient modulation (OGM): slow down the encoders that are ahead of the others."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Group, Needs, OfficialCode, Reference
from mcr_bench.methods.terms.losses import ALL, split_of
from mcr_bench.methods.terms.modulation import Modulation
from mcr_bench.methods.terms.scores import inverse_losses, mean_of_others, true_scores


def slow_down(scores: Tensor, alpha: float, having: Mapping[str, Tensor] = ALL) -> Tensor:
    """The coefficients (M,) of scores s (M,): k_m = 1 - tanh(alpha rho_m) where rho_m > 1, otherwise 1.

    rho_m = s_m / mean_{j != m} s_j. Coefficients lie between 0 and 1. Source: arXiv 2203.15332.
    having: see `mean_of_others`; where there is nothing to compare, k_m = 1.

    >>> slow_down(torch.tensor([0.8, 0.4]), alpha=0.5)
    tensor([0.2384, 1.0000])
    """
    ratio = scores / mean_of_others(scores, having)
    return torch.where(ratio > 1, 1 - torch.tanh(alpha * ratio), torch.ones_like(ratio))


@dataclass
class OnTheFly(Modulation):
    """The settings, facts and hooks that OGM and OGM-GE share."""

    alpha: float = setting(
        0.8, "strength of the modulation; 0 = none", origin="OGM-GE README, CREMA-D", at_least=0, space=Space(0.05, 1)
    )
    conv_only: bool = setting(
        False, "scale 2-D convolution kernels only, as the official code; every encoder must have some"
    )
    all_parameters: bool = setting(False, "scale every parameter of an encoder, norms and biases too, as the MCR code")
    needs: ClassVar[Needs] = Needs(additive_fusion=True, at_least=2)
    group: ClassVar[Group] = "modulation"
    official_code: ClassVar[OfficialCode | None] = OfficialCode("github.com/GeWu-Lab/OGM-GE_CVPR2022")
    reference: ClassVar[Reference] = Reference(
        "Balanced Multimodal Learning via On-the-fly Gradient Modulation", "CVPR 2022", "2203.15332"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Encoder parameters with two or more axes are scaled. Official code: 2-D convolution kernels only "
        "(`conv_only`). MCR code: all parameters, norms, biases and the own head too (`all_parameters`; no own head is "
        "trained here).",
        "With equal scores no modality is slowed. The official rule for ties depends on the order of modalities.",
        "By default gradients are modulated in all epochs. Official code: in epochs 0 to 50 of 100.",
        "Each of more than two modalities is compared with the mean of the others. The paper defines two modalities.",
        "In a regression the score of a modality is 1 / (loss + 1e-8), an extension. The paper defines classification.",
        "With several labels the score is the mean probability of the right value of each label, an extension.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.conv_only and self.all_parameters:
            raise UserError(
                f"{self.name}.conv_only and {self.name}.all_parameters cannot both be true. Set one of them to false."
            )

    def touches(self, modality: str) -> list[nn.Parameter]:
        parameters = self.fit.model.parameters_of(modality, "encoder")
        if self.all_parameters:
            return parameters
        return [p for p in parameters if (p.ndim == 4 if self.conv_only else p.ndim >= 2)]

    def coefficients(self, outputs: Outputs, batch: Batch) -> Tensor:
        split = split_of(outputs)
        scores = inverse_losses if self.fit.task.regression else true_scores
        having = batch.having
        return slow_down(scores(split, batch.target, self.fit.task, having), self.alpha, having)
