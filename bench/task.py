"""What is learned: classification into C classes, or regression of one score per sample; and the loss of each.

A regression may learn its scores in another unit than the user's (`Unit`). Losses and methods then work in the unit
that is learned; metrics and predictions are in the user's unit.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from mcr_bench.bench.errors import UserError

TargetScale = Literal["standard", "none"]
TARGET_SCALE = (
    "regression: how scores are learned; standard: with mean 0 and variance 1 over the training part (results stay in "
    "the user's unit); none: as they are"
)
GRID = 2.0**20  # steps per standard deviation: about the precision of float32 arithmetic in a network
CONSTANT = 1e-12  # largest deviation over largest score: below it, scores differ only by the rounding of float64
OFF_MEAN = 1e-6  # deviation over the largest deviation: above it, rounding cannot change the sign


@dataclass(frozen=True)
class Unit:
    """The unit in which a regression learns its scores: score = mean + size * learned.

    mean: the score that is learned as 0.
    size: the difference of scores that is learned as 1; it may be negative.
    """

    mean: float = 0.0
    size: float = 1.0

    def learned(self, scores: Tensor) -> Tensor:
        """Scores or predictions of any shape in the user's unit -> the same in the learned unit, float32.

        In any unit but the user's own, values are rounded to a millionth of a standard deviation. The same data given
        in two units then has the same bits, so that training with L1, which uses the signs of errors, gives the same.

        >>> Unit(mean=10.0, size=2.0).learned(torch.tensor([8.0, 13.0]))
        tensor([-1.0000,  1.5000])
        """
        if self == Unit():
            return scores.float()
        return (((scores.double() - self.mean) / self.size * GRID).round() / GRID).float()

    def user(self, learned: Tensor) -> Tensor:
        """Values of any shape in the learned unit -> the same in the user's unit, float64.

        They are returned unchanged where the two units are the same.

        >>> Unit(mean=10.0, size=2.0).user(torch.tensor([-1.0, 1.5]))
        tensor([ 8., 13.], dtype=torch.float64)
        """
        if self == Unit():
            return learned
        return self.mean + self.size * learned.double()

    @property
    def notes(self) -> dict[str, float]:
        """Mean and size for the record, which convert outputs of kept weights; empty for the user's own unit."""
        return {} if self == Unit() else {"target_mean": self.mean, "target_size": self.size}


def standard_unit(scores: Tensor) -> Unit:
    """The unit in which training scores (N,) have mean 0 and variance 1.

    The sign of `size` makes the first score that differs from the mean positive. A network drawn at random is not
    symmetric in the sign of its target; with this rule y and -y give the same training. UserError for scores that are
    all equal.

    >>> standard_unit(torch.tensor([3.0, 1.0])), standard_unit(torch.tensor([-3.0, -1.0]))
    (Unit(mean=2.0, size=1.0), Unit(mean=-2.0, size=-1.0))
    """
    y = scores.double()
    deviation = y - y.mean()
    largest = deviation.abs().max()
    if largest <= CONSTANT * y.abs().max():
        raise UserError(
            f"all {len(y)} scores of the training part are {float(y[0]):g}: nothing can be learned from them, and they "
            "cannot be standardised. Give training samples with different scores."
        )
    shares = deviation / largest
    first = shares[int((shares.abs() > OFF_MEAN).int().argmax())]
    return Unit(float(y.mean()), float(largest * shares.square().mean().sqrt() * first.sign()))


@dataclass(frozen=True)
class Task:
    """What the model learns: the class of a sample, or one score.

    A classification has logits (B, C) and a target (B,) of int64; a regression has outputs (B, 1) and a target (B,) of
    floats.

    classes: the number C of classes; None for a regression.
    target_scale: which unit a regression learns its scores in.
    unit: that unit, once `fitted` has computed it from a training part.
    """

    classes: int | None
    target_scale: TargetScale = "none"
    unit: Unit = Unit()

    @property
    def regression(self) -> bool:
        """Whether a score is learned, not a class."""
        return self.classes is None

    @property
    def outputs(self) -> int:
        """The number of outputs per sample: C for a classification, 1 for a regression."""
        return self.classes or 1

    def fitted(self, train: Tensor) -> "Task":
        """This task with the unit that the labels (N,) of a training part give; UserError if they are all equal."""
        scaled = self.regression and self.target_scale == "standard"
        return replace(self, unit=standard_unit(train)) if scaled else self

    def learned(self, labels: Tensor) -> Tensor:
        """Labels or predictions of any shape in the user's unit -> in the learned unit; unchanged for classes."""
        return self.unit.learned(labels) if self.regression else labels

    def user(self, learned: Tensor) -> Tensor:
        """The inverse of `learned`: outputs of any shape -> in the user's unit; unchanged for classes."""
        return self.unit.user(learned) if self.regression else learned

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """The training loss of logits (B, C) against a target (B,), a scalar tensor (); both in the learned unit.

        It is the mean cross-entropy, or, for a regression, the mean absolute error of outputs (B, 1), with which the
        MCR paper (arXiv 2411.07335) trains CMU-MOSI and CMU-MOSEI. It is computed in full precision.

        >>> Task(None).loss(torch.tensor([[1.0], [4.0]]), torch.tensor([1.0, 2.0]))
        tensor(1.)
        """
        if self.classes is None:
            return F.l1_loss(_full(logits).squeeze(-1), target)
        return F.cross_entropy(_full(logits), target)

    def per_sample(self, logits: Tensor, target: Tensor) -> Tensor:
        """The training loss of every sample, (B,), whose mean is `loss` up to rounding."""
        full = _full(logits)
        if self.regression:
            return (full.squeeze(-1) - target).abs()
        return F.cross_entropy(full, target, reduction="none")

    def combine(self, members: list[Tensor], rule: str) -> Tensor:
        """One prediction (B, C) from the logits (B, C) of several models.

        It is the logarithm of their mean probability, or, for a regression or with `rule` = "logits", their mean.

        >>> Task(2).combine([torch.tensor([[0.0, 4.0]]), torch.tensor([[2.0, 0.0]])], "logits")
        tensor([[1., 2.]])
        """
        stacked = _full(torch.stack(members))
        if self.classes is None or rule == "logits":
            return stacked.mean(0)
        return stacked.log_softmax(-1).logsumexp(0) - torch.log(torch.tensor(float(len(members))))


def _full(logits: Tensor) -> Tensor:
    """Logits of any shape in float32 if their type has fewer bits, as autocast may give them."""
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
