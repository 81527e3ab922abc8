"""BSS: training goes from samples that are easy and on which the modalities agree to those where they do not."""

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.fit import Batch, Inputs, MultimodalModel, Outputs, State
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Defect, EpochBatches, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.features.passes import of_samples
from mcr_bench.methods.terms.fusing import summed
from mcr_bench.methods.terms.losses import multi_loss, stacked, targets_of
from mcr_bench.methods.terms.variants import WithVariants


def agreement(logits: Tensor, having: Tensor | None = None) -> Tensor:
    """The mean cosine of the distributions of two modalities, over all pairs, (B,), of logits (M, B, C).

    having: (M, B) bool, which samples have each modality; a sample that has one alone agrees with itself: 1.

    >>> agreement(torch.tensor([[[99.0, 0.0]], [[99.0, 0.0]], [[0.0, 99.0]]]))
    tensor([0.3333])
    """
    p = logits.softmax(-1)
    kept = torch.ones_like(p[..., 0]) if having is None else having.to(p)
    total = (p / p.norm(dim=-1, keepdim=True) * kept[..., None]).sum(0).square().sum(-1)
    count = kept.sum(0)
    return torch.where(count > 1, (total - count) / (count * (count - 1)).clamp(min=1), 1.0)


def unit_range(values: Tensor) -> Tensor:
    """Values (N,), moved and scaled to the range from 0 to 1; 0 where all are equal.

    >>> unit_range(torch.tensor([2.0, 6.0, 3.0]))
    tensor([0.0000, 1.0000, 0.2500])
    """
    low, high = values.aminmax()
    return (values - low) / (high - low) if high > low else torch.zeros_like(values)


def fraction(epoch: int, start: float, growth: int) -> float:
    """The share of the samples in an epoch t, from 1: sqrt(start^2 + (1 - start^2) t / growth), at most 1.

    >>> round(fraction(1, 0.1, 40), 4), fraction(40, 0.1, 40)
    (0.1864, 1.0)
    """
    return 1.0 if epoch >= growth else min(1.0, math.sqrt(start**2 + (1 - start**2) * epoch / growth))


@dataclass
class Bss(WithVariants):
    """Minimise fused CE(z, y) + own sum_m CE(h_m, y) on a sequence of samples by difficulty; sum_m h_m is predicted.

    The difficulty is d_i = minmax(1 - cos_i) + minmax(loss_i), each scaled to [0, 1] over the training samples: the
    mean cosine of two modalities' softmax(h_m), and the loss that is minimised. sequence=heuristic: it is measured
    before the first step, and epoch t has the easiest part of the samples, sqrt(start^2 + (1 - start^2) t / growth).
    sequence=self-paced: it is measured before every epoch, which has all samples in an order that is drawn without
    replacement, with weights 2.01 - d_i. Compare it with multi-loss at weight own / fused, which has the same loss.
    """

    sequence: Literal["heuristic", "self-paced"] = setting(
        "heuristic", "heuristic: a growing part, the easiest first; self-paced: all, easy ones tend to come first"
    )
    start: float = setting(
        0.1,
        "heuristic: the part before the first epoch",
        origin="BSS code",
        at_least=0,
        at_most=1,
        space=Space(0.05, 1),
    )
    growth: int = setting(
        40,
        "heuristic: the epoch from which all are used; a shorter run never uses all",
        origin="BSS code",
        at_least=1,
        space=Space(5, 80),
    )
    fused: float = setting(
        0.1, "weight of the fused loss", origin="BSS code", at_least=0, space=Space(0.01, 1, log=True)
    )
    own: float = setting(
        0.9, "weight of the own heads' losses", origin="BSS code", at_least=0, space=Space(0.1, 3, log=True)
    )
    name = "bss"
    title = "BSS"
    group = "data"
    reference = Reference(
        "Balance-Aware Sequence Sampling Makes Multi-Modal Learning Better", "IJCAI 2025", "2501.01470"
    )
    official_code = OfficialCode("github.com/njustkmg/IJCAI25-BSS", "495b94e")
    defects = (
        Defect(
            "CREMA-D/train-CL.py:147, train-SPL.py:147",
            "The difficulty is measured in training mode: with statistics of the batch, which also enter the running "
            "ones, and with dropout.",
            "The difficulty is that of the model as it predicts.",
        ),
    )
    published = "official"
    needs = Needs(own_heads=True, classification=True, at_least=2)
    predicts_otherwise = "the own heads' sum is predicted, whereas each head has a loss of its own"
    neutral = (Neutral({"start": 1.0, "fused": 1.0, "own": 1.0}, "multi-loss"),)
    deviations = (
        "The last batch of an epoch may be smaller. Official code: it is left out.",
        "Difficulty is measured without augmentation. Official code: with it.",
        "Of more than two modalities the cosine is a mean over pairs. Official code: two modalities.",
        "Samples that lack a modality count with those that they have: the own losses as M times their mean, and the "
        "cosine of one modality alone as 1. The official data has none.",
        "The validation part selects the epoch. Official code: the test part.",
        "The rules are those of the official code; of the paper only the summary could be read.",
    )
    _difficulty: Tensor | None = field(default=None, init=False, repr=False)  # (N,), of sequence=heuristic

    def epoch_batches(self, epoch: int) -> EpochBatches | None:
        if self.sequence == "self-paced":
            weights = 2.01 - self.difficulty()
            source = self.fit.generator("sequence")
            return EpochBatches(torch.multinomial(weights, len(weights), generator=source))
        part = fraction(epoch, self.start, self.growth)
        if part == 1:
            return None
        if self._difficulty is None:
            self._difficulty = self.difficulty()
        easiest = self._difficulty.argsort(stable=True)[: max(1, int(part * len(self._difficulty) + 1e-9))]
        order = self.fit.order()
        return EpochBatches(order[torch.isin(order, easiest)])

    def difficulty(self) -> Tensor:
        """The difficulty of every training sample for the model as it is, (N,) float64 on the CPU, from 0 to 2."""
        order = torch.arange(len(self.fit.train))
        cosines, losses = of_samples(self.fit, order, self.measures, training=self.official).double()
        return unit_range(1 - cosines) + unit_range(losses)

    def measures(self, batch: Batch) -> Tensor:
        """The agreement of the modalities and the loss of each sample, (2, B)."""
        outputs, task = self.forward(batch), self.fit.task
        modalities, logits = list(outputs.own_logits), promoted(torch.stack(list(outputs.own_logits.values())))
        own = task.per_sample(logits, targets_of(modalities, batch.target, batch.own))
        having = stacked(modalities, batch.having)
        kept = torch.ones_like(own) if having is None else having.to(own)
        mean = (own * kept).sum(0) / kept.sum(0).clamp(min=1)
        losses = self.fused * task.per_sample(outputs.logits, batch.target) + self.own * len(own) * mean
        return torch.stack([agreement(logits, having), losses])

    def own_weight(self) -> float:
        return self.own

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        terms = multi_loss(self.fit.task, outputs, batch.target, self.own, batch.having, batch.own)
        return {**terms, "fused": self.fused * terms["fused"]}

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        outputs = super().predict(model, inputs)
        return summed(outputs, outputs.own_logits, inputs.present)

    def state_dict(self) -> State:
        return {"difficulty": self._difficulty}

    def load_state_dict(self, state: State) -> None:
        self._difficulty = state["difficulty"]
