"""AMSS: only a drawn part of each encoder's units learns in a step, the smaller the further its modality is ahead."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Defect, Group, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.scores import mean_of_others, surprisals
from mcr_bench.methods.terms.variants import WithVariants

SMALLEST = 1e-8


def feature_entropy(features: Tensor) -> Tensor:
    """The mean over the batch of the entropy of softmax(f) over the dimensions of features f (M, B, d): (M,).

    >>> feature_entropy(torch.zeros(1, 3, 8)).exp()
    tensor([8.0000])
    """
    log_p = features.log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1).mean(-1)


def label_entropy(target: Tensor, classes: int) -> Tensor:
    """The entropy () of the classes (B,) of a batch, in nats.

    >>> label_entropy(torch.tensor([0, 2, 2, 0]), 3).exp()
    tensor(2.)
    """
    shares = one_hot(target, classes).float().mean(0)
    entropy: Tensor = -torch.special.xlogy(shares, shares).sum()
    return entropy


def kept_shares(losses: Tensor, labels: Tensor, entropies: Tensor, temperature: float) -> Tensor:
    """The share of units of each modality that learns, (M,): softmax over m of mean_{j != m} r_j / temperature.

    r_m = (H_y - loss_m + 0.5) / H_m, with losses (M,), the entropy of the labels H_y () and those of the features H_m
    (M,). All are 1 / M if a numerator is not positive.

    >>> kept_shares(torch.tensor([0.4, 0.4]), torch.tensor(1.0), torch.tensor([2.0, 2.0]), temperature=0.2)
    tensor([0.5000, 0.5000])
    """
    numerators = labels - losses + 0.5
    ratios = numerators / entropies.clamp(min=SMALLEST)
    shares = (mean_of_others(ratios) / temperature).softmax(0)
    return torch.where((numerators > 0).all(), shares, 1 / len(losses))


def mask(importance: Tensor, share: Tensor, noise: Tensor, unbiased: bool = False) -> Tensor:
    """A mask (..., n) that keeps ceil(share n) of the n units of every row of importances (..., n).

    share: (). noise: (..., n), Gumbel numbers, by which units are drawn without replacement with probabilities
    p = importance / its sum; zeros for the most important ones. unbiased: what is kept is 1 / (p + 1 / n) instead of 1.

    >>> mask(torch.tensor([3.0, 1.0, 2.0]), torch.tensor(0.5), torch.zeros(3))
    tensor([1., 0., 1.])
    """
    count = importance.shape[-1]
    order = (importance.log() + noise).argsort(dim=-1, descending=True, stable=True).argsort(-1)
    kept = (order < (share * count).ceil()).to(importance)
    if not unbiased:
        return kept
    p = importance / importance.sum(-1, keepdim=True).clamp(min=torch.finfo(importance.dtype).tiny)
    return kept / (p + 1 / count)


@dataclass
class Amss(WithVariants):
    """Joint training in which the gradient of a layer is multiplied by a mask of 0 and 1 over its output units.

    Of the n units of a layer of encoder m, ceil(k_m n) are drawn in every step without replacement, with probabilities
    proportional to the sum of their squared gradients. k_m = softmax_m(mean_{j != m} r_j / temperature), between
    `least` and `most`, and r_m = (H_y - CE(z_m, y) + 0.5) / H_m with modality m's share z_m = W_m f_m + b / M of the
    logits, the entropy H_y of the labels in the batch, and the mean entropy H_m of softmax(f_m). In modality m's slice
    of the fusion head the features that each output learns from are drawn likewise.
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
    name: ClassVar[str] = "amss"
    group: ClassVar[Group] = "modulation"
    reference: ClassVar[Reference] = Reference(
        "Learning to Rebalance Multi-Modal Optimization by Adaptively Masking Subnetworks", "TPAMI 2025", "2404.08347"
    )
    official_code: ClassVar[OfficialCode | None] = OfficialCode("github.com/njustkmg/TPAMI-AMSS", "3161ecc")
    defects: ClassVar[tuple[Defect, ...]] = (
        Defect(
            "AMSS/train_test.py:234-241",
            "Masks of the fusion head are computed and never applied; those of AMSS+ divide by the indices of what was "
            "drawn, not by its probabilities.",
            "The slices of the fusion head are masked as the encoders are.",
        ),
    )
    published: ClassVar[Literal["", "paper", "official"]] = "official"
    needs: ClassVar[Needs] = Needs(additive_fusion=True, classification=True, at_least=2)
    neutral: ClassVar[tuple[Neutral, ...]] = (Neutral({"least": 1.0, "most": 1.0}, "joint"),)
    deviations: ClassVar[tuple[str, ...]] = (
        "Every encoder parameter with two or more axes is masked. Official code: 2-D convolutions only (`conv_only`).",
        "H_y is the entropy of the labels. Official code: the cross-entropy of their shares with the shares' softmax.",
        "The share of more than two modalities is a softmax over the others' mean ratio. Official code: two.",
        "The number of features that are kept in the fusion head is rounded up, as that of units. Official code: down.",
        "Units that are masked out still move by momentum and weight decay, as in the official code.",
    )

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
        for (m, share), f in zip(self.shares(outputs, batch).items(), outputs.features.values(), strict=True):
            self.fit.log(f"coefficient/{m}", share)
            source = self.fit.generator("units", m, device=f.device)
            touched = list(self.touched(m))
            if all(of_features for _, of_features in touched):
                raise RuntimeError(f"{self.name} finds no layer of '{m}' to mask: it would have no effect")
            for p, of_features in touched:
                assert p.grad is not None, "only those with a gradient are touched"
                squares = p.grad.square()
                importance = squares if of_features else squares.flatten(1).sum(1)
                chosen = self._mask(importance, share, source)
                p.grad.mul_(chosen if of_features else chosen.reshape(-1, *[1] * (p.ndim - 1)))

    def _mask(self, importance: Tensor, share: Tensor, source: torch.Generator) -> Tensor:
        if self.sample == "top":
            return mask(importance, share, torch.zeros_like(importance), self.unbiased)
        drawn = torch.rand(importance.shape, generator=source, device=importance.device, dtype=importance.dtype)
        by = torch.ones_like(importance) if self.sample == "random" else importance
        return mask(by, share, -torch.log(-torch.log(drawn)), self.unbiased)

    def shares(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Modality -> the share () of its units that learns in this batch."""
        split, classes = outputs.split_logits, self.fit.task.classes
        assert split is not None, "the harness gives this method additive fusion heads only"
        assert classes is not None, "the method needs classes"
        losses = surprisals(split, batch.target, self.fit.task, batch.having)
        entropies = feature_entropy(promoted(torch.stack([f.detach() for f in outputs.features.values()])))
        shares = kept_shares(losses, label_entropy(batch.target, classes), entropies, self.temperature)
        return dict(zip(split, shares.clamp(self.least, self.most).unbind(), strict=True))
