"""MLB: multi-loss training that speeds up the modalities that are behind and slows those that are ahead."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mcr_bench.bench.fit import Batch, Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.losses import multi_loss
from mcr_bench.methods.terms.modulation import Modulation
from mcr_bench.methods.terms.scores import mean_of_others, squared_errors, true_scores


def rebalance(ratio: Tensor, alpha: float, beta: float) -> Tensor:
    """The coefficients (M,) of the ratios (M,): k_m = 1 + tanh(alpha (ratio_m - 1)), at least 0.

    Where ratio_m > 1, the tanh is multiplied by beta - 1.

    >>> rebalance(torch.tensor([1.0, 9.0]), alpha=1.0, beta=3.0)
    tensor([1.0000, 3.0000])
    """
    rise = torch.tanh(alpha * (ratio - 1))
    if beta == 2.0:  # the base form
        return 1 + rise
    return 1 + torch.where(ratio > 1, (beta - 1) * rise, rise)


@dataclass
class Mlb(Modulation):
    """Minimise L = CE(z, y) + sum_m CE(h_m, y); after the backward pass, modality m's gradients are multiplied by k_m.

    k_m = 1 + tanh(alpha (ratio_m - 1)), ratio_m = mean_{j != m} s_j / s_m, where
    s_m = mean_i softmax(h_m)_{i, y_i} of the own head's logits h_m. In a regression ratio_m = e_m / mean_{j != m} e_j
    with the mean squared error e_m. The gradients that are multiplied are those of modality m's encoder, own head and
    slice of the fusion head; what modalities share in the fusion head is not changed.
    """

    alpha: float = setting(
        0.8,
        "strength of the modulation; 0 = none",
        origin="MLB code, CREMA-D ResNet",
        at_least=0,
        space=Space(0.1, 10, log=True),
    )
    beta: float = setting(
        2.0,
        "largest coefficient, that of a modality far behind the others",
        origin="MLB code, base form",
        at_least=0,
        space=Space(0.25, 10, log=True),
    )
    name = "mlb"
    title = "MLB"
    group = "modulation"
    selections = ("table1", "primary")
    official_code = OfficialCode(
        "github.com/kkontras/MLB", state="does not run as released, as a class was renamed; kkontras/Synergy has it"
    )
    reference = Reference(
        "Improving Multimodal Learning with Multi-Loss Gradient Modulation", "BMVC 2024", "2405.07930"
    )
    needs = Needs(own_heads=True, at_least=2)
    neutral = (
        Neutral({"alpha": 0.0}, "multi-loss"),
        Neutral({"alpha": 0.0, "apply_to": "lr"}, "multi-loss"),
    )

    deviations = (
        "Scores below 1e-8 count as 1e-8, so that no ratio is infinite.",
        "The variant with beta is always used; with its default of 2 it equals the base form.",
        "With several labels s_m is the mean probability of the right value of each label, an extension.",
        "Slices of fusion heads that are not additive are scaled too. Official code: those of the linear head only.",
    )

    def touches(self, modality: str) -> list[nn.Parameter]:
        return self.fit.model.parameters_of(modality, "encoder", "own_head", "fusion_slice")

    def coefficients(self, outputs: Outputs, batch: Batch) -> Tensor:
        having = batch.having
        if self.fit.task.regression:
            errors = squared_errors(outputs.own_logits, batch.target, having, batch.own)
            return rebalance(errors / mean_of_others(errors, having), self.alpha, self.beta)
        right = true_scores(outputs.own_logits, batch.target, self.fit.task, having, batch.own)
        return rebalance(mean_of_others(right, having) / right, self.alpha, self.beta)

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        return multi_loss(self.fit.task, outputs, batch.target, having=batch.having, own=batch.own)
