"""Coefficients of gradients that are larger where a modality is certain and contributes little."""

import torch
from torch import Tensor

from mcr_bench.bench.task import Task
from mcr_bench.methods.terms.distillation.divergence import log_probabilities
from mcr_bench.methods.terms.scores import SMALLEST

LEAST = 0.6  # M times the least share of uncertainty, which is .3 of two modalities


def asymmetry(uncertainty: Tensor, size: Tensor, temperature: float) -> Tensor:
    """The weights (M,), which sum to 1: softmax_m(T o_m c_m).

    c_m is the share of 1 / e_m among all, with the share e_m of the modality's uncertainty, at least .6 / M; o_m is the
    mean share in size of the other modalities.

    uncertainty, size: (M,), positive.

    >>> asymmetry(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]), temperature=0.0)
    tensor([0.5000, 0.5000])
    """
    count = len(size)
    inverse = 1 / (uncertainty / uncertainty.sum()).clamp_min(LEAST / count)
    others = (1 - size / size.sum()) / (count - 1)
    return (temperature * others * inverse / inverse.sum()).softmax(0)


def prediction_entropies(logits: Tensor, task: Task) -> Tensor:
    """The entropies (M, B) in nats of the predictions with logits (M, B, C); of several labels the mean of each one's.

    >>> prediction_entropies(torch.zeros(1, 1, 4), Task(4)).exp()
    tensor([[4.]])
    """
    log_p = log_probabilities(logits, task)  # (M, B, K, J)
    return -(log_p.exp() * log_p).sum((-2, -1)) / log_p.shape[-2]


def mean_for_missing(values: Tensor) -> Tensor:
    """Values (M,) with the mean of the others in place of nan, and none below 1e-8.

    >>> mean_for_missing(torch.tensor([2.0, torch.nan, 0.0]))
    tensor([2.0000e+00, 1.0000e+00, 1.0000e-08])
    """
    return torch.where(values.isnan(), values.nanmean(), values).clamp_min(SMALLEST)
