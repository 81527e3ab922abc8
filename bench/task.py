"""What is learned: classification into C classes or regression of one score, with the training loss of each."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Task:
    """Classification into `classes` = C (logits (B, C), target (B,) int64) or, with None, regression ((B, 1), (B,))."""

    classes: int | None

    @property
    def regression(self) -> bool:
        return self.classes is None

    @property
    def outputs(self) -> int:
        """Width of the logits."""
        return self.classes or 1

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean cross-entropy, or mean absolute error for regression (as the MCR paper trains MOSI and MOSEI)."""
        if self.classes is None:
            return F.l1_loss(logits.squeeze(-1), target)
        return F.cross_entropy(logits, target)

    def combine(self, members: list[Tensor], rule: str) -> Tensor:
        """One prediction from several models' logits: log of the mean probability, or the mean of the logits."""
        stacked = torch.stack(members)
        if self.classes is None or rule == "logits":
            return stacked.mean(0)
        return stacked.log_softmax(-1).logsumexp(0) - torch.log(torch.tensor(float(len(members))))
