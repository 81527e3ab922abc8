"""What the predictions of several modalities are together: their mean, and how far they are apart."""

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.task import Task
from mcr_bench.methods.terms.distillation.divergence import log_probabilities
from mcr_bench.methods.terms.losses import mean_of_present


def disagreement(logits: Tensor, task: Task, having: Tensor | None = None, backward: bool = False) -> Tensor:
    """How far the logits (M, B, C) of the modalities are apart for each sample, (B,); 0 where they are equal.

    Of classes it is the Jensen-Shannon divergence of the modalities' distributions in nats, mean_m KL(p_m || q) with
    their mean q; of labels the mean of that of each; of scores the squared difference, as a mean over pairs of
    modalities and over scores.

    having: (M, B) bool, which samples have each modality, if some lack one; only these count.
    backward: KL(q || p_m) in place of KL(p_m || q).

    >>> disagreement(torch.tensor([[[99.0, 0.0]], [[0.0, 99.0]]]), Task(2))  # disjoint: ln 2
    tensor([0.6931])
    """
    kept = torch.ones_like(logits[..., 0], dtype=torch.bool) if having is None else having
    count = kept.sum(0).clamp(min=1)
    if task.regression:
        mean = torch.where(kept[..., None], logits, 0.0).sum(0) / count[:, None]
        squares = torch.where(kept, (logits - mean).square().mean(-1), 0.0).sum(0)
        return 2 * squares / (count - 1).clamp(min=1)  # the mean over pairs is twice the unbiased variance
    log_p = log_probabilities(logits, task)  # (M, B, K, J)
    least = math.log(torch.finfo(log_p.dtype).tiny)
    log_q = torch.where(kept[..., None, None], log_p, least).logsumexp(0) - count.to(log_p).log()[:, None, None]
    apart = log_q.exp() * (log_q - log_p) if backward else log_p.exp() * (log_p - log_q)
    return torch.where(kept, apart.sum((-2, -1)) / log_p.shape[-2], 0.0).sum(0) / count


def averaged(outputs: Outputs, having: Mapping[str, Tensor]) -> Outputs:
    """The same outputs with the mean of the own heads' logits, (B, C), in place of the fusion head's.

    having: modality -> (B,) bool, the samples that have it; all samples have the others.
    """
    return replace(outputs, logits=mean_of_present(outputs.own_logits, having), branch_logits=None)
