"""MBSD: per sample the modality that is ahead teaches the other one, the more the further it is ahead."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.fit import Batch, Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Defect, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.distillation.leads import guidance, leads, released_guidance
from mcr_bench.methods.terms.losses import having_each, multi_loss
from mcr_bench.methods.terms.variants import WithVariants

CODE = "BalanceBenchmark balancemm/trainer/MBSD_trainer.py"


@dataclass
class Mbsd(WithVariants):
    """Minimise CE(z, y) + sum_m CE(h_m, y) + weight mean_i w_i [(1/C) ||h_a - h_v||^2 + KL(sg(p_d) || p_w)].

    h_a, h_v are the own heads' logits of the two modalities, p_m = softmax(h_m). Of sample i, d is the modality with
    the larger p_m(y) and w the other one; w_i = p_d(y) - p_w(y), without gradient, is the lead of `leads`, which is 0
    where neither predicts y. sg: the one that is ahead gets no gradient from the divergence.
    """

    weight: float = setting(
        1.0,
        "weight of what the modalities learn of each other; 0 = none",
        origin="BalanceBenchmark",
        at_least=0,
        space=Space(0.05, 20, log=True),
    )
    name = "mbsd"
    title = "MBSD"
    group = "distillation"
    reference = Reference(
        "Modality-balanced sample-wise distillation (MBSD), as BalanceBenchmark has it", "arXiv 2025", "2502.10816"
    )
    official_code = OfficialCode(commit="4c1482f", state="read in someone else's code only")
    defects = (
        Defect(
            f"{CODE}:153",
            "The divergence is given probabilities in place of their logarithms, and of the true class alone: "
            "p_w(y) (log p_w(y) - p_d(y)).",
            "The distribution of the modality that is behind is drawn to that of the one that is ahead.",
        ),
        Defect(
            f"{CODE}:146-151",
            "Gradients flow through the weight of each sample, and to the modality that is ahead.",
            "The weight of a sample is a number, and the one that is ahead teaches.",
        ),
    )
    published = "official"
    needs = Needs(own_heads=True, classification=True, at_least=2, at_most=2)
    neutral = (Neutral({"weight": 0.0}, "multi-loss"),)
    deviations = (
        "The paper could not be read: the rule is that of BalanceBenchmark, whose divergence is replaced by "
        "KL(sg(p_d) || p_w) of all classes (our reading; variant=official keeps what is released).",
        "Predictions of one modality are those of own heads. BalanceBenchmark: shares of a linear fusion head.",
        "The terms act in all epochs. BalanceBenchmark: in epochs 0 to 80, and joint training afterwards.",
        "Two modalities only. BalanceBenchmark takes three by pairs, with the distance of probabilities, not logits.",
        "A sample that lacks a modality has no lead.",
        "Leads and guidance go by the sample's class, also where the data says what is true of a modality alone.",
    )

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        terms = multi_loss(self.fit.task, outputs, batch.target, having=batch.having, own=batch.own)
        logits = promoted(torch.stack(list(outputs.own_logits.values())))
        lead = self._leads(logits, batch.target, batch.having)
        self.fit.log("lead", lead.detach().mean())
        apart = torch.sub(*logits).square().mean(-1)
        taught = (
            released_guidance(logits, batch.target) if self.official else guidance(logits, batch.target, self.fit.task)
        )
        terms["closeness"] = self.weight * (lead * apart).mean()
        terms["guidance"] = self.weight * (lead * taught).mean()
        return terms

    def _leads(self, logits: Tensor, target: Tensor, having: Mapping[str, Tensor]) -> Tensor:
        """(B,), of logits (2, B, C)."""
        lead, both = leads(logits, target), having_each(having, *self.fit.model.modalities)
        lead = lead if both is None else torch.where(both, lead, 0.0)
        return lead if self.official else lead.detach()
