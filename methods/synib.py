"""SynIB: where one modality's information is destroyed, the fused prediction must not stay confident."""

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mcr_bench.bench.core.precision import full_precision, promoted
from mcr_bench.bench.fit import Batch, MultimodalModel, Outputs
from mcr_bench.bench.models.fusion import sum_of
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Defect, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.features.destroyed import destroyed_at_random, destroyed_by_gate, replacement_rates
from mcr_bench.methods.terms.losses import loss_mean, loss_of, mean_of_present, multi_loss
from mcr_bench.methods.terms.modes import evaluation_mode
from mcr_bench.methods.terms.variants import WithVariants

LARGEST = 30.0  # log-variance: its exponential is a number in every precision that is used


def normal_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) in nats, (...,), summed over the last axis of both, (..., C).

    >>> normal_divergence(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2))
    tensor([2.5000])
    """
    return 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(-1)


def dirichlet_divergence(logits: Tensor) -> Tensor:
    """KL(Dir(softplus(z) + 1) || Dir(1, ..., 1)) in nats, (...,), of logits (..., C).

    >>> dirichlet_divergence(torch.full((1, 3), -99.0)).abs()
    tensor([0.])
    """
    alpha = F.softplus(logits) + 1
    total = alpha.sum(-1)
    normaliser = (
        torch.lgamma(total) - torch.lgamma(alpha).sum(-1) - torch.lgamma(torch.ones_like(total) * alpha.shape[-1])
    )
    return normaliser + ((alpha - 1) * (alpha.digamma() - total.digamma()[..., None])).sum(-1)


def anchor_divergence(logits: Tensor, anchor: Tensor) -> Tensor:
    """KL(softmax(anchor) || softmax(z)) in nats, (...,), of logits (..., C); no gradient goes to the anchor (..., C).

    >>> anchor_divergence(torch.zeros(1, 2), torch.tensor([[99.0, 0.0]])).exp()
    tensor([2.])
    """
    theirs = anchor.detach().log_softmax(-1)
    return (theirs.exp() * (theirs - logits.log_softmax(-1))).sum(-1)


class VarianceHead(nn.Module):
    """Features (B, d) of every modality -> log-variances (B, C) of the logits: a linear layer for each, summed.

    They are between -30 and 30.
    """

    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        super().__init__()
        self.slices = nn.ModuleDict({m: nn.Linear(width, outputs) for m in modalities})

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Modality -> features (B, d) -> (B, C)."""
        return sum_of({m: layer(promoted(features[m])) for m, layer in self.slices.items()}).clamp(-LARGEST, LARGEST)


@dataclass
class SynIB(WithVariants):
    """Minimise CE(z, y) + sum_m CE(h_m, y) + weight sum_m mean_i KL(q_m || prior).

    q_m comes from the fused logits z_m of features of which those of modality m are destroyed. prior=normal: q_m =
    N(z_m, exp(v)) with log-variances v of a head of their own, against N(0, I). prior=dirichlet: evidence
    softplus(z_m), against the flat Dirichlet. prior=unimodal: KL(p || softmax(z_m)), p = softmax of the mean of the
    other modalities' own logits, without gradient.
    """

    weight: float = setting(
        0.1, "l, weight of the divergences", origin="SynIB code", at_least=0, space=Space(1e-3, 1, log=True)
    )
    prior: Literal["normal", "dirichlet", "unimodal"] = setting(
        "normal", "what the prediction shall be near where a modality is destroyed", origin="SynIB code"
    )
    destroy: Literal["random", "learned"] = setting(
        "random", "random: entries are replaced at random; learned: a gate for each sample that hurts the own head most"
    )
    fill: Literal["shuffle", "zeros", "noise"] = setting(
        "shuffle",
        "what replaces entries; shuffle: those of a random sample of the batch, at times its own",
        origin="SynIB code",
    )
    draws: int = setting(4, "random: versions of each sample, each with a pass of the fusion head", at_least=1)
    p_min: float = setting(0.3, "random: smallest probability of replacing", origin="SynIB code", at_least=0, at_most=1)
    p_max: float = setting(0.9, "random: largest one", origin="SynIB code", at_least=0, at_most=1, space=Space(0.5, 1))
    sparsity: float = setting(
        1.0,
        "learned: weight of what the gate gives up",
        origin="SynIB code",
        at_least=0,
        space=Space(1e-3, 100, log=True),
    )
    name = "synib"
    title = "SynIB"
    group = "multi-objective"
    reference = Reference("SynIB: Informational Bottleneck for Maximizing Synergy in Multimodal Learning", "2026")
    official_code = OfficialCode("github.com/kkontras/SynIB", "1e59f5d")
    defects = (
        Defect(
            "src/synib/models/vlm/synib_mask_model.py:713-716",
            "Random destroying ignores `fill`: entries of another sample replace those that are lost, whatever is set.",
            "Entries are replaced by what `fill` says.",
        ),
        Defect(
            "src/synib/models/vlm/synib_mask_model.py:1221-1222",
            "With the unimodal anchor, the prediction is drawn towards that of the very modality that is destroyed.",
            "It is drawn towards the prediction of the modality that remains, as the comments of the code say too.",
        ),
    )
    needs = Needs(own_heads=True, classification=True, own_features=True, at_least=2)
    neutral = (Neutral({"weight": 0.0}, "multi-loss"),)
    deviations = (
        "Formulas are those of a summary and of the official code; the paper could not be read.",
        "The log-variances are linear in the features. Official code: in the hidden layer of its fusion head, which "
        "not every fusion head has; the evidence is softplus(z). Official code: of a layer beside z.",
        "Features are as the encoders give them. Official code: with layer norm. Log-variances are held within 30.",
        "With one draw the probability is p_max. Official code: 0 / 0, with which nothing is destroyed.",
        "With learned gates, gradients reach the encoders. Official code: not with fusion heads that read features.",
        "Passes with destroyed features are made in evaluation mode of the fusion head.",
        "The released mask model also trains the prediction of randomly destroyed features on the labels.",
        "Noise is standard normal. Official code: also with running means and deviations of each feature.",
        "Each of more than two modalities is destroyed in turn, an extension. Official code: two modalities.",
        "No divergence is counted where a sample lacks the modality that is destroyed.",
    )

    def build(self, model: MultimodalModel) -> None:
        if self.prior == "normal":
            model.extras["variance"] = VarianceHead(model.modalities, model.width, model.task.outputs)

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        terms = multi_loss(self.fit.task, outputs, batch.target, having=batch.having, own=batch.own)
        if not self.weight:
            return terms
        for m in outputs.features:
            divergence = self.divergence(outputs, m, self.destroyed(outputs, m, batch), batch).mean(0)
            terms[f"synergy/{m}"] = self.weight * loss_mean(divergence, batch.having.get(m))
        return terms

    def destroyed(self, outputs: Outputs, modality: str, batch: Batch) -> Tensor:
        """Versions (K, B, d) of the modality's features whose task information is destroyed."""
        features = promoted(outputs.features[modality])
        source = self.fit.generator("destroy", modality, device=features.device)
        if self.destroy == "random":
            rates = replacement_rates(self.draws, self.p_min, self.p_max, features.device)
            return destroyed_at_random(features, rates, "shuffle" if self.official else self.fill, source)
        head, kept = outputs.model.own_heads[modality], batch.having.get(modality)
        with full_precision(features.device):
            return destroyed_by_gate(
                features,
                lambda f: loss_of(self.fit.task, head(f), batch.target_of(modality), kept),
                self.sparsity,
                self.fill,
                source,
            )

    def divergence(self, outputs: Outputs, modality: str, destroyed: Tensor, batch: Batch) -> Tensor:
        """The divergence (K, B) from the prior, with K versions (K, B, d) of the modality's features."""
        model, draws = outputs.model, len(destroyed)
        versions = {m: promoted(f).repeat(draws, 1) for m, f in outputs.features.items()}
        versions[modality] = destroyed.flatten(0, 1)
        with evaluation_mode(model.fusion):
            logits = promoted(model.fusion(versions).logits)
        if self.prior == "normal":
            with full_precision(logits.device):
                log_variance = cast(VarianceHead, model.extras["variance"])(versions)
            made = normal_divergence(logits, log_variance)
        elif self.prior == "dirichlet":
            made = dirichlet_divergence(logits)
        else:
            made = anchor_divergence(logits, self.anchor(outputs, modality, batch).repeat(draws, 1))
        return made.reshape(draws, -1)

    def anchor(self, outputs: Outputs, modality: str, batch: Batch) -> Tensor:
        """The logits (B, C) that the prediction is drawn to where the modality is destroyed."""
        own = {m: z for m, z in outputs.own_logits.items() if (m == modality) == self.official}
        return mean_of_present(own, {m: kept for m, kept in batch.having.items() if m in own}).detach()
