"""MNL: per sample the modality that is ahead teaches the others which classes are wrong."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.fit import Batch, Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Method, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.losses import multi_loss, stacked


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
    true = torch.where(right, p, 0.0).sum(-1)
    margin = true - p.masked_fill(right, -1).amax(-1)
    if fused is not None:
        rival = one_hot(fused.detach().masked_fill(right, float("-inf")).argmax(-1), logits.shape[-1])
        margin = (logits.detach() * (right.long() - rival)).sum(-1)
    present = torch.ones_like(true, dtype=torch.bool) if having is None else having
    best, guide = torch.where(present, true, -1.0).max(0)
    guided = present & (true < best) & (margin < margin.gather(0, guide[None]))
    of_guide = p.gather(0, guide[None, :, None].expand(1, *p.shape[1:]))[0]
    wanted = torch.where(right, torch.ones_like(of_guide), negative * of_guide)
    return torch.where(guided, -(wanted * log_p).sum(-1), 0.0).sum(0)


@dataclass
class Mnl(Method):
    """Minimise CE(z, y) + sum_m CE(h_m, y) + weight mean_i G_i, with the guidance term G_i of sample i.

    G_i = -sum_w [log p_w(y) + negative sum_{c != y} sg(p_d(c)) log p_w(c)] is `negative_learning` of the own heads'
    logits h_m: p_m = softmax(h_m), d is the modality with the largest p_m(y), and the sum is over the modalities w
    that d exceeds in both p(y) and the margin p(y) - max_{c != y} p(c). sg: d gets no gradient.
    """

    weight: float = setting(
        1.0, "weight of the guidance; 1 / C = that of the code; 0 = none", at_least=0, space=Space(0.05, 5, log=True)
    )
    negative: float = setting(
        0.7, "lambda, weight of the wrong classes in it", origin="MNL code", at_least=0, space=Space(0.1, 2, log=True)
    )
    margin: Literal["probability", "logit"] = setting(
        "probability",
        "margin of the true class; probability: over the own runner-up; logit: of logits, over the fused one (code)",
    )
    name = "mnl"
    title = "MNL"
    group = "distillation"
    reference = Reference("Multimodal Negative Learning", "NeurIPS 2025", "2510.20877")
    official_code = OfficialCode("github.com/BaoquanGong/Multimodal-Negative-Learning", "64cea56")
    needs = Needs(own_heads=True, classification=True, at_least=2)
    neutral = (Neutral({"weight": 0.0}, "multi-loss"),)
    deviations = (
        "The margin is one of probabilities, over the modality's own runner-up. Official code: margin=logit.",
        "The term is a sum over classes. Official code: a mean over classes too; weight = 1 / C gives that.",
        "Where both modalities are equally good none is guided. Official code: the second one guides the first.",
        "Each of more than two modalities is compared with the one that is ahead. Official code: two modalities.",
        "The guidance goes by the sample's class, also where the data says what is true of a modality alone.",
        "z comes from the fusion head of the run. Official code: late fusion of the own heads.",
    )

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        own, having = outputs.own_logits, batch.having
        logits, kept = promoted(torch.stack(list(own.values()))), stacked(list(own), having)
        fused = promoted(outputs.logits) if self.margin == "logit" else None
        guidance = negative_learning(logits, batch.target, self.negative, fused, kept).mean()
        terms = multi_loss(self.fit.task, outputs, batch.target, having=having, own=batch.own)
        return {**terms, "guidance": self.weight * guidance}
