"""What is learned: classification into C classes or regression of one score, with the training loss of each.

A regression may learn its scores in another unit than the user's (`Unit`): losses and methods see the learned unit,
metrics and predictions the user's.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from mcr_bench.bench.errors import UserError

TargetScale = Literal["standard", "none"]
TARGET_SCALE = (
    "regression: the scores that are learned; standard: zero mean and unit variance over the training part (results "
    "stay in the user's unit), none: as they are"
)
GRID = 2.0**20  # steps per standard deviation: about the precision of float32 arithmetic in a network
CONSTANT = 1e-12  # spread over size, below which scores differ by the rounding of float64 only
OFF_MEAN = 1e-6  # deviation over the largest one, above which rounding cannot change its sign


@dataclass(frozen=True)
class Unit:
    """The unit in which scores are learned: score = mean + size * learned; `size` may be negative."""

    mean: float = 0.0
    size: float = 1.0

    def learned(self, scores: Tensor) -> Tensor:
        """The user's scores or predictions as they are learned, float32.

        Other units than the user's are rounded to a millionth of a standard deviation: the same data in another unit
        then gives the same bits, and training by signs of errors (L1) cannot drift apart.
        """
        if self == Unit():
            return scores.float()
        return (((scores.double() - self.mean) / self.size * GRID).round() / GRID).float()

    def user(self, learned: Tensor) -> Tensor:
        """What is learned or predicted in the user's unit: float64, or untouched where the units are the same."""
        if self == Unit():
            return learned
        return self.mean + self.size * learned.double()

    @property
    def notes(self) -> dict[str, float]:
        """For the record: what turns outputs of kept weights into the user's scores; empty where they are these."""
        return {} if self == Unit() else {"target_mean": self.mean, "target_size": self.size}


def standard_unit(scores: Tensor) -> Unit:
    """The unit of training scores (N,) with mean 0, variance 1 and a positive first score that is not the mean.

    The sign makes y and -y one problem: a network drawn at random is not symmetric in it. UserError for scores that
    are all equal.
    """
    y = scores.double()
    deviation = y - y.mean()
    largest = deviation.abs().max()
    if largest <= CONSTANT * y.abs().max():
        raise UserError(
            f"all {len(y)} scores of the training part are {float(y[0]):g}: they have no spread to be standardised by, "
            "and nothing to be learned. Give training samples with different scores."
        )
    shares = deviation / largest
    first = shares[int((shares.abs() > OFF_MEAN).int().argmax())]
    return Unit(float(y.mean()), float(largest * shares.square().mean().sqrt() * first.sign()))


@dataclass(frozen=True)
class Task:
    """Classification into `classes` = C (logits (B, C), target (B,) int64) or, with None, regression ((B, 1), (B,)).

    target_scale: the unit that a regression's scores are learned in; `unit` is that of one training part (`fitted`).
    """

    classes: int | None
    target_scale: TargetScale = "none"
    unit: Unit = Unit()

    @property
    def regression(self) -> bool:
        return self.classes is None

    @property
    def outputs(self) -> int:
        """Width of the logits."""
        return self.classes or 1

    def fitted(self, train: Tensor) -> "Task":
        """The task in the unit of the training part's labels (N,); UserError where these are all equal."""
        scaled = self.regression and self.target_scale == "standard"
        return replace(self, unit=standard_unit(train)) if scaled else self

    def learned(self, labels: Tensor) -> Tensor:
        """Labels or predictions in the user's unit -> in the learned one; those of classes as they are."""
        return self.unit.learned(labels) if self.regression else labels

    def user(self, learned: Tensor) -> Tensor:
        """The inverse of `learned`: outputs of a network in the user's unit."""
        return self.unit.user(learned) if self.regression else learned

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean cross-entropy, or mean absolute error for regression (as the MCR paper trains MOSI and MOSEI).

        Both in the learned unit.
        """
        if self.classes is None:
            return F.l1_loss(logits.squeeze(-1), target)
        return F.cross_entropy(logits, target)

    def combine(self, members: list[Tensor], rule: str) -> Tensor:
        """One prediction from several models' logits: log of the mean probability, or the mean of the logits."""
        stacked = torch.stack(members)
        if self.classes is None or rule == "logits":
            return stacked.mean(0)
        return stacked.log_softmax(-1).logsumexp(0) - torch.log(torch.tensor(float(len(members))))
