"""Prioritise-style: the opposite of balancing, which speeds up the best modality's encoder and slows the others."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from mcr_bench.bench.fit import Batch, Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Needs, Neutral, OfficialCode, Reference, Requirement
from mcr_bench.methods.terms.distillation.ranking import validation_scores
from mcr_bench.methods.terms.modulation import Modulation
from mcr_bench.methods.terms.unimodal_start import unimodal_runs

Scores = Mapping[str, tuple[float, ...]]


def prioritised(scores: Scores, dominant: float, rest: float) -> dict[str, float]:
    """Modality -> its coefficient: `dominant` for the one with the highest score, `rest` for the others.

    scores: modality -> numbers, of which later ones count where the earlier ones are equal. Modalities that share the
    highest score share its coefficient; where all have the same score, all have 1.

    >>> prioritised({"audio": (0.6,), "video": (0.4,)}, dominant=1.5, rest=0.5)
    {'audio': 1.5, 'video': 0.5}
    """
    best = max(scores.values(), default=())
    if all(score == best for score in scores.values()):
        return dict.fromkeys(scores, 1.0)
    return {m: dominant if score == best else rest for m, score in scores.items()}


@dataclass
class PrioritiseStyle(Modulation):
    """Joint training in which the gradient of modality m's encoder is multiplied by k_m after the backward pass.

    k_m = dominant > 1 for the modality whose unimodal run is the best on the validation part, and k_m = rest < 1 for
    all others, from the first step to the last. It is OGM with the sign reversed: a negative control, which any method
    that claims to gain from balance must beat. Reconstructed from an abstract, which names asymmetric coefficients and
    the ranking by unimodal runs, but no values.
    """

    dominant: float = setting(1.5, "coefficient of the best modality; 1 = as it is", at_least=1, space=Space(1, 3))
    rest: float = setting(
        0.5, "coefficient of all other modalities; 1 = as they are", at_least=0, at_most=1, space=Space(0.05, 1)
    )
    name = "prioritise-style"
    title = "Prioritise-style"
    group = "modulation"
    reference = Reference(
        "In the style of the abstract of: PDMP: Rethinking Balanced Multimodal Learning via Performance-Dominant "
        "Modality Prioritization",
        "arXiv 2026",
        "2604.05773",
    )
    official_code = OfficialCode(state="nothing released")
    needs = Needs(at_least=2)
    neutral = (
        Neutral({"dominant": 1.0, "rest": 1.0}, "joint"),
        Neutral({"dominant": 1.0, "rest": 1.0, "apply_to": "lr"}, "joint"),
    )
    deviations = (
        "The formula is reconstructed: the paper's coefficients, and which parameters have them, are not known.",
        "Encoder parameters with two or more axes are scaled, those that OGM scales.",
        "Modalities are ranked by the task's first metric on the validation part, for classes the accuracy, and by the "
        "loss where it is equal. Tasks other than classification are an extension.",
        "A modality that no validation sample has is left as it is.",
    )
    _factors: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def requires(self, modalities: tuple[str, ...]) -> list[Requirement]:
        return unimodal_runs(modalities)

    def on_fit_start(self) -> None:
        self._factors = prioritised(validation_scores(self.fit), self.dominant, self.rest)

    def touches(self, modality: str) -> list[nn.Parameter]:
        return [p for p in self.fit.model.parameters_of(modality, "encoder") if p.ndim >= 2]

    @cached_property
    def factors(self) -> Tensor:
        """The coefficients (M,) of the whole run, in the model's order of modalities."""
        like = self.touched[self.fit.model.modalities[0]][0]
        kept = [self._factors.get(m, 1.0) for m in self.fit.model.modalities]
        return torch.tensor(kept, dtype=like.dtype, device=like.device)

    def coefficients(self, outputs: Outputs, batch: Batch) -> Tensor:
        return self.factors
