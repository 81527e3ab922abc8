"""The shared part of methods that teach each encoder by distances from prototypes of the classes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mcr_bench.bench.fit import Batch, Outputs, State
from mcr_bench.methods.terms.features.prototypes import nearness
from mcr_bench.methods.terms.losses import ALL, loss_of
from mcr_bench.methods.terms.modulation import Windowed
from mcr_bench.methods.terms.scores import mean_of_others, true_scores


def behind(scores: Tensor, clipped: bool = False, having: Mapping[str, Tensor] = ALL) -> Tensor:
    """How far each modality is behind, (M,), of scores s (M,): 1 where s_m < mean_{j != m} s_j, otherwise 0.

    clipped: mean_{j != m} s_j / s_m - 1 instead, between 0 and 1. having: see `mean_of_others`; a score of nan, and
    one that there is nothing to compare with, is not behind.

    >>> behind(torch.tensor([0.5, 0.4])), behind(torch.tensor([0.5, 0.4]), clipped=True)
    (tensor([0., 1.]), tensor([0.0000, 0.2500]))
    """
    others = mean_of_others(scores, having)
    size = (others / scores - 1).clamp(max=1) if clipped else torch.ones_like(scores)
    return torch.where(scores < others, size, 0.0)


def shares(scores: Tensor, strong: float, having: Mapping[str, Tensor] = ALL) -> Tensor:
    """The share of the term that each modality gets, (M,): 1 where s_m < mean_{j != m} s_j, otherwise `strong`.

    scores: s (M,). having: see `mean_of_others`.

    >>> shares(torch.tensor([0.5, 0.4, 0.6]), strong=0.1)
    tensor([0.1000, 1.0000, 0.1000])
    """
    return torch.where(scores < mean_of_others(scores, having), 1.0, torch.full_like(scores, strong))


@dataclass
class PrototypeLoss(Windowed, ABC):
    """Minimise CE(z, y) + sum_m w_m CE(D_m, y), where D_m[i, c] = -||f_{m,i} - mu_m[c]||, in the window of epochs.

    A subclass makes the prototypes mu, (M, C, d), or (C, d) where all modalities have the same, and the weights w_m of
    the scores s_m = mean_i softmax(D_m)_{i, y_i}. Prototypes have no gradient, so that the term teaches encoders alone.
    """

    _prototypes: Tensor | None = field(default=None, init=False, repr=False)  # None before they are made

    @abstractmethod
    def weights(self, scores: Tensor, having: Mapping[str, Tensor]) -> Tensor:
        """The weights (M,) of scores (M,). having: see `terms.scores.mean_of_others`."""

    def cost(self, near: Tensor, target: Tensor, having: Tensor | None) -> Tensor:
        """The loss () of one modality. near: D_m, (B, C). having: (B,) bool, the samples that have it; None: all."""
        return loss_of(self.fit.task, near, target, having)

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        task, having = self.fit.task, batch.having
        losses = {"fused": task.loss(outputs.logits, batch.target)}
        if self._prototypes is None or not self.active:
            return losses
        each = self._prototypes.expand(len(outputs.features), *self._prototypes.shape[-2:]).unbind()
        near = {m: nearness(f, mu) for (m, f), mu in zip(outputs.features.items(), each, strict=True)}
        weights = self.weights(true_scores(near, batch.target, task, having), having)
        self.fit.log_each([f"coefficient/{m}" for m in near], weights)
        for (m, logits), weight in zip(near.items(), weights.unbind(), strict=True):
            losses[f"prototypes/{m}"] = weight * self.cost(logits, batch.target, having.get(m))
        return losses

    def state_dict(self) -> State:
        return {} if self._prototypes is None else {"prototypes": self._prototypes}

    def load_state_dict(self, state: State) -> None:
        self._prototypes = state["prototypes"].to(self.fit.device) if state else None
