"""OPM: the feature of the modality that is ahead is dropped for some samples, the more the further it is ahead."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from mcr_bench.bench.fit import Batch, Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.features.dropping import drop_rates
from mcr_bench.methods.terms.losses import loss_of, require_additive, split_of
from mcr_bench.methods.terms.modulation import Windowed
from mcr_bench.methods.terms.scores import inverse_losses, true_scores


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
    name = "opm"
    title = "OPM"
    group = "modulation"
    reference = Reference("On-the-fly Modulation for Balanced Multimodal Learning", "TPAMI 2024", "2410.11582")
    official_code = OfficialCode(
        "github.com/GeWu-Lab/BML_TPAMI2024", "4b3aa4f", "does not parse as released: code/models/Classifier.py:53"
    )
    needs = Needs(additive_fusion=True, own_features=True, at_least=2)
    predicts_otherwise = "features are dropped in training only"
    neutral = (
        Neutral({"batches": 0.0}, "joint"),
        Neutral({"base": 0.0}, "joint", 1e-9, "the loss is summed over the samples that are left"),
    )
    deviations = (
        "Each of more than two modalities is compared with the mean of the others. Official code: two modalities; "
        "BalanceBenchmark: with their sum, which is hardly ever exceeded.",
        "Where every sample of a batch loses all modalities, its loss is 0. Official code: the batch is skipped.",
        "The validation part selects the epoch. Official code: the test part.",
        "Extensions: in a regression s_m is 1 / (loss + 1e-8), with several labels the mean probability of the right "
        "value of each label.",
        "Features are dropped from epoch 6 on, which the official code calls 5, as it counts from 0.",
    )
    _left: Tensor | None = field(default=None, init=False, repr=False)  # (B,) samples with a modality; None: all

    def forward(self, batch: Batch) -> Outputs:
        model, self._left = self.fit.model, None
        draw = torch.rand((), generator=self.fit.generator("batch"))  # on the CPU: it does not wait for a GPU
        if not self.active or float(draw) >= self.batches:
            return super().forward(batch)
        features = model.drop(model.encode(batch.inputs), batch.dropped)
        with torch.no_grad():
            rates = self.rates(features, batch)
        lost = {m: self._lost(m, q, len(batch.target)) for m, q in rates.items()}
        self._left = torch.stack([~gone & batch.having.get(m, ~gone) for m, gone in lost.items()]).any(0)
        kept = 1 - torch.stack(list(rates.values())).mean()
        return model.fuse({m: f / kept for m, f in model.drop(features, lost).items()})

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
