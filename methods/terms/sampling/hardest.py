"""Which modality finds a sample hardest, by how certain its predictions are."""

import math

import torch
from torch import Tensor

from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.fit import Outputs
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.methods.terms.features.passes import of_samples, presence_of


def certainty(logits: Tensor) -> Tensor:
    """How far the predictions of logits (..., C) are from uniform, KL(p || 1 / C) in bits, (...).

    >>> certainty(torch.tensor([[0.0, 0.0], [99.0, 0.0]]))
    tensor([0., 1.])
    """
    log_p = logits.log_softmax(-1)
    return (log_p.exp() * (log_p + math.log(logits.shape[-1]))).sum(-1) / math.log(2)


def hardest(certainties: Tensor, draws: Tensor) -> Tensor:
    """For each sample the place of the modality with the smallest certainty, (N,), of certainties (M, N).

    draws: (M, N), from 0 to 1; of equally certain modalities that with the largest draw is taken.

    >>> hardest(torch.tensor([[0.2, 0.5], [0.3, 0.5]]), torch.tensor([[0.1, 0.1], [0.9, 0.9]]))
    tensor([0, 1])
    """
    return torch.where(certainties == certainties.amin(0), draws, -1.0).argmax(0)


def places(fit: Fit, order: Tensor) -> Tensor:
    """The place of the modality that finds each of the training samples `order` (n,) hardest, (n,) on the CPU.

    Certainties are those of the own heads; a modality that a sample lacks is never the hardest one.
    """
    certainties = of_samples(fit, order, lambda batch: _certainties(fit.model(batch.inputs)))
    lacking = ~presence_of(fit, order)
    draws = [torch.rand(len(order), generator=fit.generator("tie", m)) for m in fit.model.modalities]
    return hardest(certainties.masked_fill(lacking, math.inf), torch.stack(draws).masked_fill(lacking, -0.5))


def _certainties(outputs: Outputs) -> Tensor:
    return certainty(promoted(torch.stack(list(outputs.own_logits.values()))))
