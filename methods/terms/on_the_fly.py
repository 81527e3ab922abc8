"""On-the-fly gradient modulation (OGM): slow the encoders that are ahead of the others."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Needs, Reference
from mcr_bench.methods.terms.modulation import Modulation
from mcr_bench.methods.terms.scores import ground_truth_probabilities, inverse_losses, mean_of_others


def slow_down(scores: Tensor, alpha: float) -> Tensor:
    """k_m = 1 - tanh(alpha rho_m) where rho_m = s_m / mean_{j != m} s_j > 1, else 1. (M,) -> (M,), in [0, 1]."""
    ratio = scores / mean_of_others(scores)
    return torch.where(ratio > 1, 1 - torch.tanh(alpha * ratio), torch.ones_like(ratio))


@dataclass
class OnTheFly(Modulation):
    """Settings and hooks that OGM and OGM-GE share."""

    alpha: float = setting(
        0.8, "strength of the modulation; 0 = none", origin="OGM-GE README, CREMA-D", at_least=0, space=Space(0.05, 1)
    )
    conv_only: bool = setting(False, "only 2-D convolution kernels, as the official code; needs such encoders")
    all_parameters: bool = setting(False, "every parameter of an encoder, norms and biases too, as the MCR code")
    needs: ClassVar[Needs] = Needs(additive_fusion=True, at_least=2)
    reference: ClassVar[Reference] = Reference(
        "Balanced Multimodal Learning via On-the-fly Gradient Modulation", "CVPR 2022", "2203.15332"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Scales encoder parameters of two axes or more; official: only 2-D convolution kernels (`conv_only`); MCR "
        "code: all of them, norms, biases and own head too (`all_parameters`; here no own head is trained).",
        "Equal scores slow nobody; the official tie rule depends on the order of modalities.",
        "Modulates in the whole run by default; official window: epochs 0 to 50 of 100.",
        "More than two modalities compare with the mean of the others; the paper defines two.",
        "Regression scores a modality by 1 / (loss + 1e-8): an extension, the paper defines classification.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.conv_only and self.all_parameters:
            raise UserError(
                f"{self.name}.conv_only and {self.name}.all_parameters exclude each other: set one to false."
            )

    def touches(self, modality: str) -> list[nn.Parameter]:
        parameters = self.fit.model.parameters_of(modality, "encoder")
        if self.all_parameters:
            return parameters
        return [p for p in parameters if (p.ndim == 4 if self.conv_only else p.ndim >= 2)]

    def coefficients(self, outputs: Outputs, batch: Batch) -> Tensor:
        split = outputs.split_logits
        assert split is not None, "the harness gives this method additive fusion heads only"
        if self.fit.task.regression:
            return slow_down(inverse_losses(split, batch.target, self.fit.task), self.alpha)
        return slow_down(ground_truth_probabilities(split, batch.target), self.alpha)
