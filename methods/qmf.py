"""QMF: late fusion by each prediction's energy, which learns to be lower for samples of larger past losses."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.fit import Batch, Inputs, MultimodalModel, Outputs, State
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Defect, Needs, OfficialCode, Reference
from mcr_bench.methods.terms.fusing import fused_late
from mcr_bench.methods.terms.losses import multi_loss, stacked, targets_of
from mcr_bench.methods.terms.variants import WithVariants

SCALE = 10.0  # that the energy is divided by


def confidences(logits: Tensor, official: bool = False) -> Tensor:
    """The confidence (...,) of logits (..., C): log sum_c exp(z_c) / 10.

    official: the sum of exponentials itself, which overflows at large logits.

    >>> confidences(torch.tensor([1000.0, 0.0]))
    tensor(100.)
    >>> confidences(torch.tensor([1000.0, 0.0]), official=True)
    tensor(inf)
    """
    return (logits.exp().sum(-1).log() if official else logits.logsumexp(-1)) / SCALE


def ranking(confidence: Tensor, difficulty: Tensor, kept: Tensor | None = None, official: bool = False) -> Tensor:
    """The ranking loss (M,) of confidences (M, B) of which each is compared with the next in the batch, cyclically.

    Of a pair (i, j) it is max(0, t (c_i - c_j) + |d_i - d_j|) with t = sign(d_i - d_j): the sample with the larger
    difficulty d (M, B), between 0 and 1, must be less confident, by the difference of the two.

    kept: (M, B) bool, the modalities that each sample has; pairs in which one lacks it do not count. None: all.
    official: the margin is subtracted.

    >>> ranking(torch.tensor([[0.3, 0.5]]), torch.tensor([[0.0, 1.0]]))
    tensor([1.2000])
    """
    apart, harder = confidence - confidence.roll(-1, -1), difficulty - difficulty.roll(-1, -1)
    margin = -harder.abs() if official else harder.abs()
    losses = (harder.sign() * apart + margin).clamp(min=0)
    if kept is None:
        return losses.mean(-1)
    pairs = kept & kept.roll(-1, -1)
    return torch.where(pairs, losses, 0.0).sum(-1) / pairs.sum(-1).clamp(min=1)


def normalised(values: Tensor, among: Tensor, seen: Tensor | None = None) -> Tensor:
    """Values (M, B) on the scale on which the smallest of `among` (M, N) is 0 and the largest 1, for each row.

    seen: (M, N) bool, those that count. Where all that count are equal, everything is 0.

    >>> among = torch.tensor([[1.0, 2.0, 5.0, 0.0]])
    >>> normalised(torch.tensor([[2.0]]), among, seen=among > 0)
    tensor([[0.2500]])
    """
    low, high = (among, among) if seen is None else (among.where(seen, torch.inf), among.where(seen, -torch.inf))
    least, width = low.amin(-1, keepdim=True), high.amax(-1, keepdim=True) - low.amin(-1, keepdim=True)
    return torch.where(width > 0, (values - least) / width.clamp(min=torch.finfo(width.dtype).tiny), 0.0)


@dataclass
class Qmf(WithVariants):
    """Minimise CE(z, y) + sum_m CE(h_m, y) + weight sum_m R_m, with z = sum_m sg(c_m) h_m of the own heads' logits.

    c_m = log sum_c exp(h_m[c]) / 10 is the confidence (`confidences`), sg: without gradient. R_m is the `ranking` of
    the batch's confidences by difficulty: the mean of a sample's losses CE(h_m, y) so far, this step's included, on
    the scale from 0 to 1 of all training samples that were seen. z is predicted.
    """

    weight: float = setting(
        1.0, "weight of the ranking", origin="QMF code, text and images", at_least=0, space=Space(0.01, 10, log=True)
    )
    name = "qmf"
    title = "QMF"
    group = "architecture"
    reference = Reference("Provable Dynamic Fusion for Low-Quality Multimodal Data", "ICML 2023", "2306.02050")
    official_code = OfficialCode("github.com/QingyangZhang/QMF", "fe6c4c6")
    defects = (
        Defect(
            "text-image-classification/src/models/late_fusion.py:28-29",
            "The energy is the logarithm of the sum of exponentials, which overflows: from logits of about 89 on the "
            "confidence is infinite and the loss is nan.",
            "The energy is log-sum-exp, which is finite for all logits.",
        ),
        Defect(
            "text-image-classification/train_qmf.py, rank_loss",
            "The sign of the target is turned after the margin was divided by it, so the margin is subtracted: a "
            "confidence in the wrong order is tolerated up to it.",
            "The confidences must be in the right order by the margin at least.",
        ),
        Defect(
            "text-image-classification/src/utils/utils.py:123-137",
            "The difficulty is the sum of a sample's losses so far, on a scale that starts at the samples with fewer "
            "losses or none, so that margins are smaller the more of an epoch is still to come.",
            "It is the mean of a sample's losses so far, on the scale of the samples that have one.",
        ),
    )
    published = "official"
    needs = Needs(own_heads=True, classification=True, at_least=2)
    without_neutral = "With weight 0 the fusion by confidence stays, which no simpler method has."
    deviations = (
        "The losses of this step count before the ranking, as in the official code on text and images. On RGB-D they "
        "count after it, and the first batch is 0 / 0; there the confidences pass a gradient on through z.",
        "Where all difficulties are equal, there is neither an order nor a margin. Official code: 0 / 0.",
        "A modality that a sample lacks is left out of its sum and of the pairs. The paper has complete samples.",
        "Gradients are not accumulated over 24 batches, and no encoder is frozen at first.",
    )
    _sums: Tensor | None = field(default=None, init=False, repr=False)  # (M, N), of each training sample's losses
    _counts: Tensor | None = field(default=None, init=False, repr=False)  # (M, N), of these losses

    def forward(self, batch: Batch) -> Outputs:
        return self.fused(super().forward(batch), batch.having)

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        return self.fused(super().predict(model, inputs), inputs.present)

    def fused(self, outputs: Outputs, having: dict[str, Tensor]) -> Outputs:
        """The outputs with z (B, C) in place of the fusion head's logits; having: as `Batch.having`."""
        own = promoted(torch.stack(list(outputs.own_logits.values())))
        return fused_late(outputs, confidences(own, self.official), having)

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        own = outputs.own_logits
        logits, kept = promoted(torch.stack(list(own.values()))), stacked(list(own), batch.having)
        terms = multi_loss(self.fit.task, outputs, batch.target, having=batch.having, own=batch.own)
        if not self.weight:
            return terms
        losses = self.fit.task.per_sample(logits.detach(), targets_of(list(own), batch.target, batch.own))
        difficulty = self.difficulty(losses, batch.index, kept)
        ranks = ranking(confidences(logits, self.official), difficulty, kept, self.official)
        return terms | {f"rank/{m}": self.weight * rank for m, rank in zip(own, ranks.unbind(), strict=True)}

    def difficulty(self, losses: Tensor, index: Tensor, kept: Tensor | None = None) -> Tensor:
        """The difficulties (M, B), between 0 and 1, of the samples `index` (B,), once their losses (M, B) are added.

        kept: (M, B) bool, the modalities that each sample has; losses of others are not added. None: all.
        """
        if self._sums is None or self._counts is None:
            self._sums, self._counts = losses.new_zeros(2, len(losses), len(self.fit.train)).unbind()
        added = torch.ones_like(losses) if kept is None else kept.to(losses)
        self._sums.index_add_(1, index, torch.where(added > 0, losses, 0.0))
        self._counts.index_add_(1, index, added)
        if self.official:
            return normalised(self._sums[:, index], self._sums)
        means = self._sums / self._counts.clamp(min=1)
        return normalised(means[:, index], means, self._counts > 0)

    def state_dict(self) -> State:
        if self._sums is None or self._counts is None:
            return {}
        return {"sums": self._sums.clone(), "counts": self._counts.clone()}

    def load_state_dict(self, state: State) -> None:
        self._sums, self._counts = (
            state[k].to(self.fit.device, copy=True) if state else None for k in ("sums", "counts")
        )
