"""The kinds of targets, and what each means: its loss, how good and how far apart outputs are, and what they predict.

`Task` chooses one by what is learned. All functions are pure and expect outputs in full precision. They accept any axes
before the batch, so that the outputs of several models are scored in one pass.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F


class Outcome(ABC):
    """One kind of target. C outputs per sample are given as (..., B, C), targets as `Task` says."""

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The training loss () of outputs (B, C): the mean of `per_sample`, up to rounding."""
        return self.per_sample(outputs, target).mean()

    @abstractmethod
    def per_sample(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The training loss of each sample, (..., B)."""

    def true_score(self, outputs: Tensor, target: Tensor) -> Tensor:
        """How good the outputs for each sample are, (..., B), from 0 to 1."""
        return torch.exp(-self.per_sample(outputs, target))

    @abstractmethod
    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """How far the outputs a and b (..., B, C) for each sample are apart, (..., B)."""

    @abstractmethod
    def prediction(self, outputs: Tensor) -> Tensor:
        """What the outputs predict, in the form of the target."""

    def combine(self, members: Tensor) -> Tensor:
        """The outputs (B, C) that stand for the mean prediction of M models with outputs (M, B, C)."""
        return members.mean(0)


class OneClass(Outcome):
    """One class per sample: logits (..., B, C), target (B,) of class indices, softmax and cross-entropy."""

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(outputs, target)

    def per_sample(self, outputs: Tensor, target: Tensor) -> Tensor:
        index = target.expand(outputs.shape[:-1]).unsqueeze(-1)
        return -outputs.log_softmax(-1).gather(-1, index).squeeze(-1)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """The Jensen-Shannon divergence in nats, at most ln 2; of log-probabilities, so it stays finite."""
        log_p, log_q = a.log_softmax(-1), b.log_softmax(-1)
        log_m = torch.logaddexp(log_p, log_q) - math.log(2)
        return 0.5 * (log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)).sum(-1)

    def prediction(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(-1)

    def combine(self, members: Tensor) -> Tensor:
        """The logarithm of the mean probability."""
        return members.log_softmax(-1).logsumexp(0) - torch.log(torch.tensor(float(len(members))))


class ManyLabels(Outcome):
    """L labels, each of which a sample has or not: logits (..., B, L), target (B, L) of 0 and 1, one sigmoid each."""

    def per_sample(self, outputs: Tensor, target: Tensor) -> Tensor:
        right = target.to(outputs).expand_as(outputs)
        return F.binary_cross_entropy_with_logits(outputs, right, reduction="none").mean(-1)

    def true_score(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The probability of the right value of a label, averaged over labels."""
        return torch.sigmoid(outputs * (2 * target.to(outputs) - 1)).mean(-1)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """The Jensen-Shannon divergence of each label's two values, averaged over labels."""
        return OneClass().distance(_two_values(a), _two_values(b)).mean(-1)

    def prediction(self, outputs: Tensor) -> Tensor:
        """1 where the probability is above one half, otherwise 0; int64."""
        return (outputs > 0).long()

    def combine(self, members: Tensor) -> Tensor:
        """The log-odds of the mean probability of each label."""
        return F.logsigmoid(members).logsumexp(0) - F.logsigmoid(-members).logsumexp(0)


class OneScore(Outcome):
    """One score per sample: outputs (..., B, 1), target (B,), absolute error."""

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(outputs.squeeze(-1), target)

    def per_sample(self, outputs: Tensor, target: Tensor) -> Tensor:
        return (outputs.squeeze(-1) - target).abs()

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """The absolute difference."""
        return (a - b).abs().squeeze(-1)

    def prediction(self, outputs: Tensor) -> Tensor:
        return outputs.squeeze(-1)


class ManyScores(Outcome):
    """K scores per sample: outputs (..., B, K), target (B, K), absolute error averaged over scores."""

    def per_sample(self, outputs: Tensor, target: Tensor) -> Tensor:
        return (outputs - target).abs().mean(-1)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """The absolute difference, averaged over scores."""
        return (a - b).abs().mean(-1)

    def prediction(self, outputs: Tensor) -> Tensor:
        return outputs


def _two_values(logits: Tensor) -> Tensor:
    """Logits (..., L) of labels as logits (..., L, 2) of two classes."""
    return torch.stack((logits, torch.zeros_like(logits)), -1)
