"""Scores that say how good each modality is alone on a batch, detached; methods that balance gradients compare them.

`having`, modality -> (B,) bool, are the samples over which a modality's score is a mean, where these are not all. The
score is nan where no sample of the batch has the modality: it says nothing there, and others are not compared with it.
"""

import math
from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.fit.returns import State
from mcr_bench.bench.task import Task
from mcr_bench.methods.terms.losses import ALL, batch_mean, targets_of

SMALLEST = 1e-8


def true_scores(
    logits: dict[str, Tensor],
    target: Tensor,
    task: Task,
    having: Mapping[str, Tensor] = ALL,
    own: Mapping[str, Tensor] = ALL,
) -> Tensor:
    """The mean over the batch of the task's true-class score for each modality, (M,), at least 1e-8.

    logits: modality -> (B, C). target: (B,) class indices, or (B, C) labels. own: modality -> its own target, where it
    has one (`Batch.own`).

    >>> true_scores({"audio": torch.zeros(2, 4)}, torch.tensor([0, 3]), Task(4))
    tensor([0.2500])
    """
    right = task.true_score(_stacked(logits), targets_of(list(logits), target, own))
    return batch_mean(right, list(logits), having).clamp_min(SMALLEST)


def surprisals(logits: dict[str, Tensor], target: Tensor, task: Task, having: Mapping[str, Tensor] = ALL) -> Tensor:
    """The mean of the loss of each sample, which counts as at most -log 1e-8, for each modality, (M,).

    Of a class it is the mean of -log max(probability of the true class, 1e-8). logits: modality -> (B, C). target: (B,)
    class indices, or (B, C) labels.

    >>> surprisals({"audio": torch.zeros(2, 4)}, torch.tensor([0, 3]), Task(4)).exp()
    tensor([4.])
    """
    losses = task.per_sample(_stacked(logits), target).clamp_max(-math.log(SMALLEST))
    return batch_mean(losses, list(logits), having)


def squared_errors(
    logits: dict[str, Tensor],
    target: Tensor,
    having: Mapping[str, Tensor] = ALL,
    own: Mapping[str, Tensor] = ALL,
) -> Tensor:
    """The mean squared error of each modality over samples and outputs, (M,), at least 1e-8.

    logits: modality -> (B, 1) with a target (B,), or (B, K) with a target (B, K). own: modality -> its own target,
    where it has one (`Batch.own`).

    >>> squared_errors({"audio": torch.tensor([[1.0], [4.0]])}, torch.tensor([1.0, 2.0]))
    tensor([2.])
    """
    outputs = _stacked(logits)
    squares = (outputs.reshape(len(outputs), *target.shape) - targets_of(list(logits), target, own)).square()
    if not having:
        return squares.flatten(1).mean(1).clamp_min(SMALLEST)
    return batch_mean(squares.reshape(*squares.shape[:2], -1).mean(2), list(logits), having).clamp_min(SMALLEST)


def inverse_losses(logits: dict[str, Tensor], target: Tensor, task: Task, having: Mapping[str, Tensor] = ALL) -> Tensor:
    """1 / (training loss + 1e-8) of each modality, (M,), which in a regression replaces the true class's probability.

    logits: modality -> (B, 1) or (B, K). target: (B,) or (B, K).

    >>> inverse_losses({"audio": torch.tensor([[1.0], [4.0]])}, torch.tensor([1.0, 2.0]), Task(None))
    tensor([1.])
    """
    if not having:
        return 1 / (torch.stack([task.loss(x, target) for x in _stacked(logits)]) + SMALLEST)
    losses = torch.stack([task.per_sample(x, target) for x in _stacked(logits)])
    return 1 / (batch_mean(losses, list(logits), having) + SMALLEST)


def mean_of_others(scores: Tensor, having: Mapping[str, Tensor] = ALL) -> Tensor:
    """For each modality the mean of the other modalities' scores, (M,), of scores (M,), M >= 2.

    having: where some samples lack a modality; scores that are nan are then left out, and the mean of none is nan.

    >>> mean_of_others(torch.tensor([1.0, 2.0, 6.0]))
    tensor([4.0000, 3.5000, 1.5000])
    """
    others = _others(len(scores), scores.dtype, scores.device)
    if not having:
        return (scores * others).sum(1) / (len(scores) - 1)
    known = ~scores.isnan()
    return (torch.where(known, scores, 0.0) * others).sum(1) / (others * known).sum(1)


@cache
def _others(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """0 on the diagonal and 1 elsewhere, (M, M)."""
    return 1 - torch.eye(count, dtype=dtype, device=device)


class RunningScores:
    """The mean score of each modality over all steps so far; 0 before the first step.

    means: modality -> its mean, a tensor ().
    steps: the number of steps.
    lacked: modality -> the number of steps, a tensor () int64, in whose batch no sample had it; empty if none lacked.
    """

    def __init__(
        self,
        means: Mapping[str, Tensor] | None = None,
        steps: int = 0,
        lacked: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.means, self.steps, self.lacked = dict(means or {}), steps, dict(lacked or {})

    def before(self, scores: Tensor, modalities: list[str], having: Mapping[str, Tensor] = ALL) -> Tensor:
        """The means (M,) over the earlier steps; this step's scores (M,) are added for the next call.

        having: where some samples lack a modality; a score that is nan is then not added, and the mean of a modality
        that no earlier step had is nan.

        >>> running = RunningScores()
        >>> running.before(torch.tensor([2.0, 4.0]), ["audio", "video"])
        tensor([0., 0.])
        >>> running.before(torch.tensor([6.0, 6.0]), ["audio", "video"])
        tensor([2., 4.])
        """
        none = scores.new_zeros(()) if len(self.means) < len(modalities) else scores
        before = torch.stack([self.means.get(m, none) for m in modalities]).to(scores)
        self.steps += 1
        if having or self.lacked:
            return self._partly(scores, before, modalities)
        self.means = dict(zip(modalities, before.lerp(scores, 1 / self.steps).unbind(), strict=True))
        return before

    def _partly(self, scores: Tensor, before: Tensor, modalities: list[str]) -> Tensor:
        """As `before`, whose means (M,) are those of the earlier steps, where some scores may be nan."""
        known = ~scores.isnan()
        never = torch.zeros((), dtype=torch.int64)
        lacked = torch.stack([self.lacked.get(m, never).to(scores.device) for m in modalities])
        seen = self.steps - 1 - lacked
        moved = before.lerp(torch.where(known, scores, 0.0), (1 / (seen + 1)).to(scores))
        self.means = dict(zip(modalities, torch.where(known, moved, before).unbind(), strict=True))
        self.lacked = dict(zip(modalities, (lacked + ~known).unbind(), strict=True))
        return before if self.steps == 1 else torch.where(seen > 0, before, torch.nan)

    @property
    def partial(self) -> bool:
        """Whether the means may be those of unequal numbers of steps, or nan, as some batch lacked a modality."""
        return bool(self.lacked)

    def state_dict(self) -> State:
        """The keyword arguments that make equal running scores."""
        means, lacked = ({m: x.cpu().clone() for m, x in kept.items()} for kept in (self.means, self.lacked))
        return {"means": means, "steps": self.steps, "lacked": lacked}


def _stacked(logits: dict[str, Tensor]) -> Tensor:
    """The logits (B, C) of all modalities as (M, B, C), detached, in full precision even under autocast."""
    return promoted(torch.stack(list(logits.values())).detach())
