"""What is learned: a class, several labels, one score or several scores per sample; and what methods need of each.

A regression may learn its scores in another unit than the user's (`Unit`). Losses and methods then work in the unit
that is learned; metrics and predictions are in the user's unit.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mcr_bench.bench.units import TARGET_SCALE, USERS_OWN, TargetScale, Unit, Units, standard_unit, standard_units

if TYPE_CHECKING:  # commands that print tables ask for tasks too, and torch takes seconds to import
    from torch import Tensor

    from mcr_bench.bench.outcomes import Outcome

__all__ = ["TARGET_SCALE", "TargetScale", "Task", "Unit", "Units", "standard_unit", "standard_units"]


@dataclass(frozen=True)
class Task:
    """What the model learns of a sample; losses, scores and predictions follow from it.

    - `Task(C)`: one of C classes; logits (B, C), targets (B,) int64.
    - `Task(None, labels=L)`: L labels, each there or not; logits (B, L), targets (B, L) of 0 and 1, float.
    - `Task(None)`: one score (regression); outputs (B, 1), targets (B,) float.
    - `Task(None, scores=K)`: K scores (vector regression); outputs and targets (B, K) float.

    classes: the number C of classes; None for every other task.
    target_scale: which unit a regression learns its scores in.
    unit: that unit, or those units, once `fitted` has computed it from a training part.
    labels: the number L of labels of a multi-label task.
    scores: the number K of scores of a vector regression.
    sentiment: the largest score if the one score is a sentiment on a scale that has metrics of its own: 3 as in
        CMU-MOSI, from -3 to 3, or 1 as in CH-SIMS, from -1 to 1; 0 for every other score.
    """

    classes: int | None
    target_scale: TargetScale = "none"
    unit: Unit | Units = USERS_OWN
    labels: int | None = None
    scores: int | None = None
    sentiment: int = field(default=0, compare=False)  # which metrics there are, not what is learned

    def __post_init__(self) -> None:
        chosen = [n for n in (self.classes, self.labels, self.scores) if n is not None]
        if len(chosen) > 1 or any(n < 1 for n in chosen):
            raise ValueError(f"{self} needs one positive number at most, of classes, labels or scores")
        if self.sentiment is True or self.sentiment not in (0, 1, 3):
            raise ValueError(f"{self}: sentiment is the largest score of a scale: 3 or 1, or 0 for other scores")
        if self.sentiment and chosen:
            raise ValueError(f"{self}: only one score per sample may be a sentiment")

    @property
    def multi_label(self) -> bool:
        """Whether a sample may have several labels, or none."""
        return self.labels is not None

    @property
    def regression(self) -> bool:
        """Whether scores are learned, one or several per sample."""
        return self.classes is None and self.labels is None

    @property
    def outputs(self) -> int:
        """The number of outputs per sample: C classes, L labels, one score, or K scores."""
        return self.classes or self.labels or self.scores or 1

    @property
    def _outcome(self) -> "Outcome":
        from mcr_bench.bench.outcomes import ManyLabels, ManyScores, OneClass, OneScore

        if self.classes is not None:
            return OneClass()
        if self.labels is not None:
            return ManyLabels()
        return OneScore() if self.scores is None else ManyScores()

    def fitted(self, train: "Tensor") -> "Task":
        """This task with the unit that the labels (N,) or (N, K) of a training part give.

        UserError if the scores of one output are all equal.
        """
        if not self.regression or self.target_scale != "standard":
            return self
        return replace(self, unit=standard_unit(train) if self.scores is None else standard_units(train))

    def learned(self, labels: "Tensor") -> "Tensor":
        """Labels or predictions in the user's unit -> in the learned unit; unchanged unless they are scores.

        Those of a vector regression have the shape (..., K), others any shape.
        """
        return self.unit.learned(labels) if self.regression else labels

    def user(self, learned: "Tensor") -> "Tensor":
        """The inverse of `learned`: outputs of the same shape -> in the user's unit; unchanged unless scores."""
        return self.unit.user(learned) if self.regression else learned

    def loss(self, logits: "Tensor", target: "Tensor") -> "Tensor":
        """The training loss of logits (B, C) against a target, a scalar tensor (); both in the learned unit.

        It is the mean cross-entropy of classes; of labels the mean binary cross-entropy over samples and labels; of
        scores the mean absolute error over samples and outputs, with which the MCR paper (arXiv 2411.07335) trains
        CMU-MOSI and CMU-MOSEI. It is computed in full precision.

        >>> import torch
        >>> Task(None).loss(torch.tensor([[1.0], [4.0]]), torch.tensor([1.0, 2.0]))
        tensor(1.)
        """
        return self._outcome.loss(_full(logits), target)

    def per_sample(self, logits: "Tensor", target: "Tensor") -> "Tensor":
        """The training loss of every sample, (B,), whose mean is `loss` up to rounding.

        As in the methods below, logits may have axes before the batch, (..., B, C), and the result then has them too.

        >>> import torch
        >>> Task(None, scores=2).per_sample(torch.tensor([[1.0, 4.0]]), torch.tensor([[1.0, 2.0]]))
        tensor([1.])
        """
        return self._outcome.per_sample(_full(logits), target)

    def true_score(self, logits: "Tensor", target: "Tensor") -> "Tensor":
        """How good the outputs for every sample are, (B,), from 0 to 1.

        It is the probability of the true class; of labels the mean probability of the right value of each; of scores
        exp(-mean |output - target|), the likelihood under the Laplace distribution whose negative logarithm the loss
        is, relative to that of a perfect prediction. With one class or one score it equals exp(-per_sample).

        >>> import torch
        >>> Task(None, labels=2).true_score(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
        tensor([0.5000])
        """
        return self._outcome.true_score(_full(logits), target)

    def distance(self, a: "Tensor", b: "Tensor") -> "Tensor":
        """How far the logits `a` and `b` (B, C) of every sample are apart, (B,); 0 for equal ones, symmetric.

        It is the Jensen-Shannon divergence of the two distributions over classes in nats, between 0 and ln 2; of labels
        the mean of that of each; of scores the mean absolute difference.

        >>> import torch
        >>> Task(2).distance(torch.tensor([[99.0, 0.0]]), torch.tensor([[0.0, 99.0]]))  # disjoint: ln 2
        tensor([0.6931])
        """
        return self._outcome.distance(_full(a), _full(b))

    def prediction(self, logits: "Tensor") -> "Tensor":
        """What logits (B, C) predict, in the form of the target and in the learned unit.

        These are class indices (B,); of labels 1 where the probability is above one half, (B, L) int64; the score (B,),
        or the scores (B, K).

        >>> import torch
        >>> Task(None, labels=2).prediction(torch.tensor([[-0.5, 2.0]]))
        tensor([[0, 1]])
        """
        return self._outcome.prediction(_full(logits))

    def combine(self, members: "list[Tensor]", rule: str) -> "Tensor":
        """One prediction (B, C) from the logits (B, C) of several models.

        It is the logarithm of their mean probability; of labels the log-odds of the mean probability of each; of
        scores, and with `rule` = "logits", the mean of the outputs.

        >>> import torch
        >>> Task(2).combine([torch.tensor([[0.0, 4.0]]), torch.tensor([[2.0, 0.0]])], "logits")
        tensor([[1., 2.]])
        """
        import torch

        stacked = _full(torch.stack(members))
        return stacked.mean(0) if rule == "logits" else self._outcome.combine(stacked)


def _full(logits: "Tensor") -> "Tensor":
    """Logits of any shape in float32 if their type has fewer bits, as autocast may give them."""
    return logits.float() if logits.element_size() < 4 else logits
