"""Several losses become one: uncertainty weighting, dynamic weight average, smooth Tchebycheff, log-ratios.

What they learn or remember are parameters and buffers of modules, which checkpoints of the model hold.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mcr_bench.methods.terms.losses import stacked

SMALLEST = 1e-20  # a loss below this counts as this where its logarithm is taken (LibMTL's STCH)


def seen(modalities: Sequence[str], having: Mapping[str, Tensor]) -> Tensor | None:
    """(M,) bool, the modalities that some sample of the batch has; None where all samples have all.

    >>> seen(["audio", "video"], {"video": torch.tensor([False, False])})
    tensor([ True, False])
    """
    kept = stacked(modalities, having)
    return None if kept is None else kept.any(1)


def filled(losses: Tensor, known: Tensor | None = None) -> Tensor:
    """Losses (K,), with the mean of the others, as a constant, for one in which no sample of the batch counts.

    known: (K,) bool, the losses in which some do; None where that is all. A loss of 0 may be that of a modality that is
    always right.

    >>> filled(torch.tensor([1.0, 0.0, 3.0]), torch.tensor([True, False, True]))
    tensor([1., 2., 3.])
    """
    if known is None:
        return losses
    mean = torch.where(known, losses.detach(), 0.0).sum() / known.sum().clamp(min=1)
    return torch.where(known, losses, mean.clamp(min=SMALLEST))


def by_uncertainty(losses: Tensor, log_variances: Tensor) -> Tensor:
    """Losses L and learned s, both (K,), become sum_k (exp(-s_k) L_k + s_k) / 2, a tensor (). Source: arXiv 1705.07115.

    >>> by_uncertainty(torch.tensor([1.0, 3.0]), torch.zeros(2))
    tensor(2.)
    """
    return ((-log_variances).exp() * losses + log_variances).sum() / 2


def average_weights(rates: Tensor, temperature: float) -> Tensor:
    """The weights (K,) of K losses, whose sum is K: K softmax(rates / temperature).

    rates: the loss of the last epoch divided by that of the epoch before, (K,). Source: DWA, arXiv 1803.10704, eq. 7.

    >>> average_weights(torch.tensor([1.0, 1.0, 1.0]), temperature=2.0)
    tensor([1., 1., 1.])
    """
    return len(rates) * torch.softmax(rates / temperature, 0)


def log_ratios(losses: Tensor, reference: Tensor) -> Tensor:
    """log(L_k / r_k) of losses and their reference, both (K,); values below 1e-20 count as 1e-20.

    >>> log_ratios(torch.tensor([2.0, 0.0]), torch.tensor([2.0, 1e-20]))
    tensor([0., 0.])
    """
    return losses.clamp(min=SMALLEST).log() - reference.clamp(min=SMALLEST).log()


def smooth_maximum(values: Tensor, mu: float) -> Tensor:
    """(1 / mu) log mean_k exp(mu v_k) of values (K,), a tensor (): their mean for small mu, their maximum for large mu.

    >>> smooth_maximum(torch.tensor([1.0, 3.0]), mu=50.0)
    tensor(2.9861)
    """
    return (torch.logsumexp(mu * values, 0) - math.log(len(values))) / mu


class LossHistory(nn.Module):
    """The mean losses (K,) of the epoch in progress and of the last two, as buffers.

    last: those of the last epoch that ended; 1 before the first one has ended.
    before: those of the epoch before it; those of the first epoch where there has been one only.
    """

    last: Tensor
    before: Tensor
    total: Tensor
    steps: Tensor
    epochs: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        for name in ("last", "before"):
            self.register_buffer(name, torch.ones(count))
        self.register_buffer("total", torch.zeros(count))
        for name in ("steps", "epochs"):
            self.register_buffer(name, torch.zeros(()))

    def add(self, losses: Tensor) -> None:
        """Count the losses (K,) of one step."""
        self.total += losses.detach()
        self.steps += 1

    def end_epoch(self) -> None:
        """Close the epoch in progress; a next one begins."""
        mean = self.total / self.steps.clamp(min=1)
        self.before = torch.where(self.epochs > 0, self.last, mean)
        self.last = mean
        self.total, self.steps = torch.zeros_like(self.total), torch.zeros_like(self.steps)
        self.epochs = self.epochs + 1


class Scalariser(nn.Module, ABC):
    """Losses (K,) of one step and the number of its epoch -> one loss ()."""

    @abstractmethod
    def forward(self, losses: Tensor, epoch: int) -> Tensor:
        """The loss () that is minimised in this step."""

    def end_epoch(self, epoch: int) -> None:
        """Called after each epoch."""


class Uncertainty(Scalariser):
    """Uncertainty weighting, whose log-variances (K,) the optimiser learns; they start at 0."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.log_variances = nn.Parameter(torch.zeros(count))

    def reset_parameters(self) -> None:
        """Log-variances of 0: every loss has the weight 1/2."""
        nn.init.zeros_(self.log_variances)

    def forward(self, losses: Tensor, epoch: int) -> Tensor:
        return by_uncertainty(losses, self.log_variances)


class WeightAverage(Scalariser):
    """Dynamic weight average: a loss that falls more slowly weighs more; in the first two epochs all weigh the same."""

    def __init__(self, count: int, temperature: float) -> None:
        super().__init__()
        self.history, self.temperature = LossHistory(count), temperature

    def forward(self, losses: Tensor, epoch: int) -> Tensor:
        self.history.add(losses)
        rates = self.history.last / self.history.before.clamp(min=SMALLEST)
        return (average_weights(rates, self.temperature) * losses).sum()

    def end_epoch(self, epoch: int) -> None:
        self.history.end_epoch()


class Tchebycheff(Scalariser):
    """Smooth Tchebycheff (STCH): after `warmup` epochs K mu log sum_k exp(log(L_k / r_k) / mu), before sum_k log L_k.

    r_k is the mean of L_k in the last epoch of the warm-up. Source: arXiv 2402.19078, as LibMTL applies it.
    """

    def __init__(self, count: int, mu: float, warmup: int) -> None:
        super().__init__()
        self.history, self.mu, self.warmup = LossHistory(count), mu, warmup

    def forward(self, losses: Tensor, epoch: int) -> Tensor:
        if epoch <= self.warmup:
            self.history.add(losses)
            return log_ratios(losses, torch.ones_like(losses)).sum()
        ratios = log_ratios(losses, self.history.last)
        return len(losses) * self.mu * torch.logsumexp(ratios / self.mu, 0)

    def end_epoch(self, epoch: int) -> None:
        if epoch <= self.warmup:
            self.history.end_epoch()
