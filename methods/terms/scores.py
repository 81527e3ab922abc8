"""How well each modality does alone on a batch, as detached scores that gradient-balancing methods compare."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mcr_bench.bench.task import Task

SMALLEST = 1e-8


def ground_truth_probabilities(logits: dict[str, Tensor], target: Tensor) -> Tensor:
    """Mean probability of the true class per modality, (M,), at least 1e-8. logits[m]: (B, C); target: (B,)."""
    return _of_the_true_class(logits, target).exp().mean(1).clamp_min(SMALLEST)


def surprisals(logits: dict[str, Tensor], target: Tensor) -> Tensor:
    """Mean of -log max(probability of the true class, 1e-8) per modality, (M,)."""
    return -_of_the_true_class(logits, target).exp().clamp_min(SMALLEST).log().mean(1)


def squared_errors(logits: dict[str, Tensor], target: Tensor) -> Tensor:
    """Mean squared error per modality, (M,), at least 1e-8. logits[m]: (B, 1); target: (B,)."""
    return (_stacked(logits).squeeze(-1) - target).square().mean(1).clamp_min(SMALLEST)


def inverse_losses(logits: dict[str, Tensor], target: Tensor, task: Task) -> Tensor:
    """1 / (training loss + 1e-8) per modality, (M,): a regression's stand-in for the true class' probability."""
    return 1 / (torch.stack([task.loss(x, target) for x in _stacked(logits)]) + SMALLEST)


def mean_of_others(scores: Tensor) -> Tensor:
    """The mean of the other modalities' scores, (M,) -> (M,), M >= 2."""
    others = 1 - torch.eye(len(scores), dtype=scores.dtype, device=scores.device)
    return (scores * others).sum(1) / (len(scores) - 1)


class RunningScores:
    """Each modality's mean score over all steps so far; 0 before the first."""

    def __init__(self, means: Mapping[str, Tensor] | None = None, steps: int = 0) -> None:
        self.means, self.steps = dict(means or {}), steps

    def before(self, scores: Tensor, modalities: list[str]) -> Tensor:
        """The means (M,) without this step's `scores` (M,), which are then taken in."""
        known = [self.means.get(m, torch.zeros(())).to(scores) for m in modalities]
        before = torch.stack(known)
        self.steps += 1
        self.means = dict(zip(modalities, before.lerp(scores, 1 / self.steps).unbind(), strict=True))
        return before

    def state_dict(self) -> dict[str, Any]:
        """Keyword arguments that make an equal one."""
        return {"means": {m: s.cpu().clone() for m, s in self.means.items()}, "steps": self.steps}


def _of_the_true_class(logits: dict[str, Tensor], target: Tensor) -> Tensor:
    """Log-probabilities of the true class, (M, B)."""
    stacked = _stacked(logits)
    index = target.expand(len(stacked), -1).unsqueeze(-1)
    return stacked.log_softmax(-1).gather(-1, index).squeeze(-1)


def _stacked(logits: dict[str, Tensor]) -> Tensor:
    """Detached (M, B, C), in full precision also under autocast."""
    stacked = torch.stack(list(logits.values())).detach()
    return stacked.to(torch.promote_types(stacked.dtype, torch.float32))
