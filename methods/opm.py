"""OPM: the feature of the modality that is ahead is dropped for some samples, the more the further it is ahead."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Group, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.losses import ALL, loss_of, require_additive, split_of
from mcr_bench.methods.terms.modulation import Windowed
from mcr_bench.methods.terms.scores import inverse_losses, mean_of_others, true_scores


def drop_rates(scores: Tensor, base: float, strength: float, having: Mapping[str, Tensor] = ALL) -> Tensor:
    """The probability q of dropping each modality's feature, (M,), of scores s (M,).

    q_m = base (1 + strength r_m), at most 1, where r_m = tanh(max(0, s_m / mean_{j != m} s_j - 1)) is positive, else 0.
    having: see `mean_of_others`; where there is nothing to compare, q_m = 0.

    >>> drop_rates(torch.tensor([0.8, 0.4]), base=0.5, strength=0.5)
    tensor([0.6904, 0.0000])
    """
    ahead = torch.tanh((scores / mean_of_others(scores, having) - 1).clamp(min=0))
    return torch.where(ahead > 0, (base * (1 + strength * ahead)).clamp(max=1), 0.0)


@dataclass
class Opm(Windowed):
    """Joint training on features of which some are dropped: f_m becomes d_m f_m / (1 - mean_j q_j), CE(z, y).

    d_m is 0 with probability q_m for each sample and else 1; q_m is `drop_rates` of the scores s_m = sum_i
    softmax(z_m)_{i, y_i}, where z_m = W_m f_m + b / M is modality m's share of the logits of features that are not
    dropped. Each batch is changed with probability `batches`. Samples that lose every modality they have do not count.
    """

    base: float = setting(
        0.5, "probability of dropping at least", origin="OPM code", at_least=0, at_most=1, space=Space(0.05, 0.9)
    )
    strength: float = setting(
        0.5, "lambda, how much q grows with the lead", origin="OPM code", at_least=0, space=Space(0.05, 5, log=True)
    )
    batches: float = setting(
        0.7, "probability that a batch is changed", origin="OPM code", at_least=0, at_most=1, space=Space(0.2, 1)
    )
    start: int = setting(6, "first epoch in which features are dropped", origin="OPM code", at_least=1)
    name: ClassVar[str] = "opm"
    title: ClassVar[str] = "OPM"
    group: ClassVar[Group] = "modulation"
    reference: ClassVar[Reference] = Reference(
        "On-the-fly Modulation for Balanced Multimodal Learning", "TPAMI 2024", "2410.11582"
    )
    official_code: ClassVar[OfficialCode | None] = OfficialCode(
        "github.com/GeWu-Lab/BML_TPAMI2024", "4b3aa4f", "does not parse as released: code/models/Classifier.py:53"
    )
    needs: ClassVar[Needs] = Needs(additive_fusion=True, own_features=True, at_least=2)
    predicts_otherwise: ClassVar[str] = "features are dropped in training only"
    neutral: ClassVar[tuple[Neutral, ...]] = (
        Neutral({"batches": 0.0}, "joint"),
        Neutral({"base": 0.0}, "joint", 1e-9, "the loss is summed over the samples that are left"),
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Each of more than two modalities is compared with the mean of the others. Official code: two modalities; "
        "BalanceBenchmark: with their sum, which is hardly ever exceeded.",
        "Where every sample of a batch loses all modalities, its loss is 0. Official code: the batch is skipped.",
        "The validation part selects the epoch. Official code: the test part.",
        "In a regression the score of a modality is 1 / (loss + 1e-8), an extension. The paper defines classification.",
        "With several labels the score is the mean probability of the right value of each label, an extension.",
        "Features are dropped from epoch 6 on, which the official code calls 5, as it counts from 0.",
    )
    _left: Tensor | None = field(default=None, init=False, repr=False)  # (B,) samples with a modality; None: all

    def forward(self, batch: Batch) -> Outputs:
        model, self._left = self.fit.model, None
        if not self.active or self._spared():
            return super().forward(batch)
        features = model.drop(model.encode(batch.inputs), batch.dropped)
        with torch.no_grad():
            rates = self.rates(features, batch)
        lost = {m: self._lost(m, q, len(batch.target)) for m, q in rates.items()}
        self._left = torch.stack([~gone & batch.having.get(m, ~gone) for m, gone in lost.items()]).any(0)
        kept = 1 - torch.stack(list(rates.values())).mean()
        return model.fuse({m: f / kept for m, f in model.drop(features, lost).items()})

    def _spared(self) -> bool:
        """Whether this batch is not changed; the draw is on the CPU, so that it does not wait for a GPU."""
        return float(torch.rand((), generator=self.fit.generator("batch"))) >= self.batches

    def _lost(self, modality: str, rate: Tensor, count: int) -> Tensor:
        """(count,) bool, drawn: the samples whose feature of the modality is dropped."""
        source = self.fit.generator("drop", modality, device=rate.device)
        return torch.rand(count, generator=source, device=rate.device) < rate

    def rates(self, features: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Modality -> the probability () of dropping its feature, of features (B, d); they are logged."""
        split, having = split_of(self.fit.model.fuse(features)), batch.having
        scores = inverse_losses if self.fit.task.regression else true_scores
        rates = drop_rates(scores(split, batch.target, self.fit.task, having), self.base, self.strength, having)
        self.fit.log_each([f"coefficient/{m}" for m in split], rates)
        return dict(zip(split, rates.unbind(), strict=True))

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        require_additive(outputs)
        return {"fused": loss_of(self.fit.task, outputs.logits, batch.target, self._left)}
