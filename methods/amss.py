"""AMSS: only a drawn part of each encoder's units learns in a step, the smaller the further its modality is ahead."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit import Batch, Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Defect, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.features.entropies import feature_entropy, label_entropy
from mcr_bench.methods.terms.gradients.masks import gumbel, mask
from mcr_bench.methods.terms.losses import split_of
from mcr_bench.methods.terms.scores import mean_of_others, surprisals
from mcr_bench.methods.terms.variants import WithVariants


def kept_shares(losses: Tensor, labels: Tensor, entropies: Tensor, temperature: float) -> Tensor:
    """The share of units of each modality that learns, (M,): softmax over m of mean_{j != m} r_j / temperature.

    r_m = (H_y - loss_m + 0.5) / H_m, with losses (M,), the entropy of the labels H_y () and those of the features H_m
    (M,). All are 1 / M if a numerator is not positive, or nan: no sample of the batch has that modality.

    >>> kept_shares(torch.tensor([0.4, 0.4]), torch.tensor(1.0), torch.tensor([2.0, 2.0]), temperature=0.2)
    tensor([0.5000, 0.5000])
    """
    numerators = labels - losses + 0.5
    shares = (mean_of_others(numerators / entropies.clamp(min=1e-8)) / temperature).softmax(0)
    return torch.where((numerators > 0).all(), shares, 1 / len(losses))


@dataclass
class Amss(WithVariants):
    """Joint training in which the gradient of a layer is multiplied by a mask of 0 and 1 over its output units.

    Of the n units of a layer of encoder m, ceil(k_m n) are drawn in every step without replacement, with probabilities
    proportional to the sum of their squared gradients. k_m = softmax_m(mean_{j != m} r_j / temperature), between
    `least` and `most`, and r_m = (H_y - CE(z_m, y) + 0.5) / H_m with modality m's share z_m = W_m f_m + b / M of the
    logits, the entropy H_y of the labels in the batch, and the mean entropy H_m of softmax(f_m). In modality m's slice
    of the fusion head the features that each output learns from are drawn likewise. What is not drawn does not move.
    """

    temperature: float = setting(
        0.2, "of the softmax that gives the shares", origin="AMSS code", at_least=1e-3, space=Space(0.02, 2, log=True)
    )
    least: float = setting(
        0.1, "smallest share that learns", origin="AMSS code", at_least=0.01, at_most=1, space=Space(0.05, 0.4)
    )
    most: float = setting(0.9, "largest share that learns", origin="AMSS code", at_least=0.01, at_most=1)
    sample: Literal["adaptive", "top", "random"] = setting(
        "adaptive",
        "how units are chosen; adaptive: drawn by their squared gradients; top: the largest; random: drawn alike",
        origin="AMSS code",
    )
    unbiased: bool = setting(False, "AMSS+: multiply gradients that are kept by 1 / (p + 1 / n)", origin="AMSS paper")
    conv_only: bool = setting(False, "mask 2-D convolutions only, as the official code; every encoder must have some")
    name = "amss"
    title = "AMSS"
    group = "modulation"
    reference = Reference(
        "Learning to Rebalance Multi-Modal Optimization by Adaptively Masking Subnetworks", "TPAMI 2025", "2404.08347"
    )
    official_code = OfficialCode("github.com/njustkmg/TPAMI-AMSS", "3161ecc")
    defects = (
        Defect(
            "AMSS/train_test.py:234-241",
            "Masks of the fusion head are computed and never applied; those of AMSS+ divide by the indices of what was "
            "drawn, not by its probabilities.",
            "The slices of the fusion head are masked as the encoders are.",
        ),
        Defect(
            "AMSS/train_test.py, train_epoch: parms.grad *= mask_a",
            "What is masked out has a gradient of 0, so that momentum and weight decay still move it.",
            "Only what is drawn is updated.",
        ),
    )
    published = "official"
    needs = Needs(additive_fusion=True, classification=True, at_least=2)
    neutral = (Neutral({"least": 1.0, "most": 1.0}, "joint"),)
    deviations = (
        "Every encoder parameter with two or more axes is masked. Official code: 2-D convolutions only (`conv_only`).",
        "H_y is the entropy of the labels. Official code: the cross-entropy of their shares with the shares' softmax.",
        "The share of more than two modalities is a softmax over the others' mean ratio. Official code: two.",
        "The number of features that are kept in the fusion head is rounded up, as that of units. Official code: down.",
        "Where no sample of a batch has a modality, the share of each modality is 1 / M.",
    )
    _held: list[tuple[nn.Parameter, Tensor, Tensor]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.most < self.least:
            raise UserError(f"{self.name}.most={self.most} is below {self.name}.least={self.least}. Set a larger one.")

    def touched(self, modality: str) -> Iterator[tuple[nn.Parameter, bool]]:
        """The parameters that are masked, and whether the mask is one over features of each output, (C, d)."""
        axes = (4,) if self.conv_only else range(2, 6)
        for p in self.fit.model.parameters_of(modality, "encoder"):
            if p.ndim in axes and p.grad is not None:
                yield p, False
        if self.official:
            return
        for p in self.fit.model.parameters_of(modality, "fusion_slice"):
            if p.ndim == 2 and p.grad is not None:
                yield p, True

    @torch.no_grad()
    def after_backward(self, outputs: Outputs, batch: Batch) -> None:
        for m, share in self.shares(outputs, batch).items():
            self.fit.log(f"coefficient/{m}", share)
            source = self.fit.generator("units", m, device=share.device)
            touched = list(self.touched(m))
            if all(of_features for _, of_features in touched):
                raise UserError(
                    f"{self.name} has no layer of '{m}' to mask, so it would have no effect there. Give '{m}' "
                    "an encoder that learns."
                )
            for p, of_features in touched:
                assert p.grad is not None, "only those with a gradient are touched"
                squares = p.grad.square()
                chosen = self._mask(squares if of_features else squares.flatten(1).sum(1), share, source)
                chosen = chosen if of_features else chosen.reshape(-1, *[1] * (p.ndim - 1))
                p.grad.mul_(chosen)
                if not self.official:
                    self._held.append((p, chosen != 0, p.detach().clone()))

    def _mask(self, importance: Tensor, share: Tensor, source: torch.Generator) -> Tensor:
        if self.sample == "top":
            return mask(importance, share, unbiased=self.unbiased)
        by = torch.ones_like(importance) if self.sample == "random" else importance
        return mask(by, share, gumbel(importance, source), self.unbiased)

    def train_step(self, batch: Batch) -> None:
        self._held = []
        super().train_step(batch)
        with torch.no_grad():
            for p, kept, before in self._held:
                p.copy_(torch.where(kept, p, before))
        self._held = []

    def shares(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Modality -> the share () of its units that learns in this batch."""
        split, task, having = split_of(outputs), self.fit.task, batch.having
        assert task.classes is not None, "the method needs classes"
        losses, entropies = surprisals(split, batch.target, task, having), feature_entropy(outputs.features, having)
        shares = kept_shares(losses, label_entropy(batch.target, task.classes), entropies, self.temperature)
        return dict(zip(split, shares.clamp(self.least, self.most).unbind(), strict=True))
