"""MNL: per sample the modality that is ahead teaches the others which classes are wrong."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Group, Method, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.losses import multi_loss


def negative_learning(
    logits: Tensor, target: Tensor, negative: float, fused: Tensor | None = None, having: Tensor | None = None
) -> Tensor:
    """The guidance term of each sample, (B,), summed over the modalities that are guided.

    The guide d of a sample is the modality with the largest true-class probability p_d(y). A modality w is guided where
    its p_w(y) and its margin are both smaller than d's: -[log p_w(y) + negative sum_{c != y} p_d(c) log p_w(c)], with
    no gradient to d. The margin is p(y) - max_{c != y} p(c).

    logits: (M, B, C). target: (B,) class indices. having: (M, B) bool, the samples that have each modality.
    fused: (B, C); if given, the margin is z(y) - z(j) of logits, j the class besides y with the largest fused logit.

    >>> logits = torch.tensor([[[4.0, 0.0]], [[0.0, 0.0]]])  # the first one is ahead; -log 0.5 - 0.5 * 0.018 log 0.5
    >>> negative_learning(logits, torch.tensor([0]), negative=0.5)
    tensor([0.6994])
    """
    log_p = logits.log_softmax(-1)
    p = log_p.detach().exp()
    right = one_hot(target, logits.shape[-1]).bool()  # (B, C)
    true = _at(p, target)
    margin = true - p.masked_fill(right, -1).amax(-1)
    if fused is not None:
        rival = fused.detach().masked_fill(right, float("-inf")).argmax(-1)
        margin = _at(logits.detach(), target) - _at(logits.detach(), rival)
    if having is not None:
        true = torch.where(having, true, -1.0)
    best, guide = true.max(0)
    guided = (true < best) & (margin < margin.gather(0, guide[None]))
    if having is not None:
        guided = guided & having
    of_guide = p.gather(0, guide[None, :, None].expand(1, *p.shape[1:]))[0]
    wanted = torch.where(right, torch.ones_like(of_guide), negative * of_guide)
    return torch.where(guided, -(wanted * log_p).sum(-1), 0.0).sum(0)


def _at(values: Tensor, index: Tensor) -> Tensor:
    """Of values (M, B, C) those of the classes `index` (B,), as (M, B)."""
    return values.gather(-1, index.expand(values.shape[:-1])[..., None])[..., 0]


@dataclass
class Mnl(Method):
    """Minimise CE(z, y) + sum_m CE(h_m, y) + weight mean_i G_i, with the guidance term G_i of sample i.

    G_i = -sum_w [log p_w(y) + negative sum_{c != y} sg(p_d(c)) log p_w(c)], where p_m = softmax(h_m) of the own head's
    logits and d is the modality with the largest p_m(y). The sum is over the modalities w with both a smaller p_w(y)
    and a smaller margin p_w(y) - max_{c != y} p_w(c) than d. sg means that d gets no gradient.
    """

    weight: float = setting(
        1.0, "weight of the guidance; 0 = none", origin="MNL code", at_least=0, space=Space(0.05, 5, log=True)
    )
    negative: float = setting(
        0.7, "lambda, weight of the wrong classes in it", origin="MNL code", at_least=0, space=Space(0.1, 2, log=True)
    )
    margin: Literal["probability", "logit"] = setting(
        "probability",
        "margin of the true class; probability: over the most probable other class; logit: as the official code, of "
        "logits, over the other class with the largest fused logit",
    )
    name: ClassVar[str] = "mnl"
    group: ClassVar[Group] = "distillation"
    reference: ClassVar[Reference] = Reference("Multimodal Negative Learning", "NeurIPS 2025", "2510.20877")
    official_code: ClassVar[OfficialCode | None] = OfficialCode(
        "github.com/BaoquanGong/Multimodal-Negative-Learning", "64cea56"
    )
    needs: ClassVar[Needs] = Needs(own_heads=True, classification=True, at_least=2)
    neutral: ClassVar[tuple[Neutral, ...]] = (Neutral({"weight": 0.0}, "multi-loss"),)
    deviations: ClassVar[tuple[str, ...]] = (
        "The margin is one of probabilities, over the modality's own runner-up. Official code: margin=logit.",
        "The term is a sum over classes. Official code: a mean over classes too; weight = 1 / C gives that.",
        "Where both modalities are equally good none is guided. Official code: the second one guides the first.",
        "Each of more than two modalities is compared with the one that is ahead. Official code: two modalities.",
        "z comes from the fusion head of the run. Official code: late fusion of the own heads.",
    )

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        terms = multi_loss(self.fit.task, outputs, batch.target, having=batch.having)
        logits, having = promoted(torch.stack(list(outputs.own_logits.values()))), None
        if batch.having:
            everywhere = torch.ones_like(batch.target, dtype=torch.bool)
            having = torch.stack([batch.having.get(m, everywhere) for m in outputs.own_logits])
        fused = promoted(outputs.logits) if self.margin == "logit" else None
        guidance = negative_learning(logits, batch.target, self.negative, fused, having)
        return {**terms, "guidance": self.weight * guidance.mean()}
