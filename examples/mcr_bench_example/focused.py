"""Each modality learns most from the samples that it gets wrong.

L = loss(z, y) + weight / M * sum_m mean_i (1 - p_mi)^gamma loss_i(h_m, y)

z are the fused logits, h_m those of modality m's own head, and p_mi is what h_m gives the right answer of sample i.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mcr_bench.bench.fit import Batch, Outputs
from mcr_bench.bench.settings import setting
from mcr_bench.methods.base import Method, Needs, Neutral, Reference


def focus(losses: Tensor, scores: Tensor, gamma: float, having: Tensor | None = None) -> Tensor:
    """The mean () of losses (B,), each times (1 - score)^gamma; scores (B,) from 0 to 1 get no gradient.

    having: (B,) bool, the samples that have the modality, over which the mean is; None if all have it.

    >>> focus(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.5]), gamma=2.0)  # (0 * 1 + 0.25 * 2) / 2
    tensor(0.2500)
    """
    focused = (1 - scores.detach()) ** gamma * losses
    if having is None:
        return focused.mean()
    return torch.where(having, focused, 0.0).sum() / having.sum().clamp(min=1)


@dataclass
class Focused(Method):
    """Joint training with one focused loss for each modality's own head."""

    weight: float = setting(1.0, "weight of the modalities' own losses", origin="chosen here", at_least=0)
    gamma: float = setting(2.0, "how much samples count that are learned already", origin="focal loss", at_least=0)
    name = "focused"
    reference = Reference("Focal Loss for Dense Object Detection", "ICCV 2017", "1708.02002")
    needs = Needs(own_heads=True)
    neutral = (Neutral({"weight": 0.0}, "joint"),)
    deviations = ("the factor (1 - p)^gamma gets no gradient; in the paper it does",)

    def own_weight(self) -> float:
        return self.weight

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        task, target = self.fit.task, batch.target
        own = [
            focus(task.per_sample(z, target), task.true_score(z, target), self.gamma, batch.having.get(m))
            for m, z in outputs.own_logits.items()
        ]
        return {"fused": task.loss(outputs.logits, target), "own": self.weight * torch.stack(own).mean()}
