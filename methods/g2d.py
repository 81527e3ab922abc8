"""G2D: distillation from frozen unimodal teachers, at first for one encoder at a time, that of the weakest first."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit import Batch, Inputs, MultimodalModel, Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Defect, Delay, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.boosting.turns import rank_of_turn
from mcr_bench.methods.terms.distillation.divergence import output_distance
from mcr_bench.methods.terms.distillation.taught import Taught
from mcr_bench.methods.terms.distillation.teachers import feature_distance
from mcr_bench.methods.terms.losses import batch_mean, loss_mean
from mcr_bench.methods.terms.modes import without_gradient
from mcr_bench.methods.terms.objectives.agreement import averaged
from mcr_bench.methods.terms.variants import WithVariants

MODULATION = "utils/utils.py, modulate_gradients_based_on_scores_from_two_modalities"


def of_rank(scores: Tensor, rank: int) -> Tensor:
    """(M,) 1 for the modality of this rank by its teacher's score (M,), from the lowest, 0; else 0.

    Modalities of equal scores share a rank; last are those whose score is nan, as no sample of the batch has them.

    >>> of_rank(torch.tensor([0.3, 0.9]), rank=0)
    tensor([1., 0.])
    """
    known = scores.nan_to_num(nan=torch.inf)
    lower = (known[None] < known[:, None]).sum(1)
    return (lower == lower.sort().values[rank]).to(scores.dtype)


@dataclass
class G2d(WithVariants, Taught):
    """Minimise CE(z, y) + sum_m T^2 KL(softmax(u_m / T) || softmax(z / T)) + sum_m mean (f_m - t_m)^2.

    The fused logits are the mean z = mean_m h_m of the own heads' logits, over the modalities that a sample has; u_m
    and t_m are logits and features of modality m's unimodal run. The two sums have the weights `logit_weight` and
    `feature_weight`. In a regression the KL term is the mean squared difference of outputs.

    In the first `share` of the epochs one encoder learns at a time, that of the weakest modality first; the others get
    no gradient. There are M - 1 such phases of nearly equal length, fewer where there are fewer epochs; then all learn.
    Weakest is the modality whose teacher has the lowest mean true-class probability on the training samples.
    """

    logit_weight: float = setting(
        1.0,
        "weight of the distance to the teachers' outputs; 0 = none",
        origin="G2D code",
        at_least=0,
        space=Space(0.1, 10, log=True),
    )
    feature_weight: float = setting(
        1.0,
        "weight of the distance to the teachers' features; 0 = none",
        origin="G2D code",
        at_least=0,
        space=Space(0.1, 10, log=True),
    )
    temperature: float = setting(1.0, "temperature of the distance to outputs", origin="G2D code", at_least=1e-3)
    share: float = setting(
        0.5,
        "share of the run's epochs in which encoders learn one at a time; 0 = none",
        origin="G2D code: 150 of 300 epochs",
        at_least=0,
        at_most=1,
        space=Space(0, 1),
    )
    logits: Literal["mean", "fusion"] = setting(
        "mean",
        "what z is; mean: the mean of the own heads' logits; fusion: what the fusion head gives",
        origin="G2D code",
    )
    name = "g2d"
    title = "G2D"
    reference = Reference(
        "G2D: Boosting Multimodal Learning with Gradient-Guided Distillation", "ICCV 2025", "2506.21514"
    )
    official_code = OfficialCode("github.com/rAIson-Lab/G2D", "95969d8", "complete")
    defects = (
        Defect(
            MODULATION,
            "Only weights of four axes, those of 2-D convolutions, are held back; all others learn.",
            "The whole encoder is held back.",
        ),
        Defect(
            MODULATION,
            "Their gradients are multiplied by 0 and kept, so that momentum and weight decay still move them.",
            "An encoder that is held back does not move.",
        ),
        Defect(
            MODULATION,
            "Which modality is held back is decided by each batch; equal scores end the training.",
            "The modalities are ranked once, by their teachers.",
        ),
    )
    published = "official"
    needs = Needs(own_heads=True, at_least=2)
    neutral = (Neutral({"logit_weight": 0.0, "feature_weight": 0.0, "share": 0.0, "logits": "fusion"}, "joint"),)
    delays = (Delay("share", "share"),)
    deviations = (
        "Teachers are the best epochs of the unimodal runs by validation. Official code: chosen by test accuracy.",
        "Phases are a share of the run's epochs, and patience counts in them too, so that it may end a run before all "
        "learn. Official code: the epochs 0 to 150 of 300, and no patience.",
        "With three and more modalities M - 1 of them learn alone in turn, an extension: the code takes two.",
        "variant=official: modalities of equal scores learn together. Official code: equal scores end the training.",
        "A sample that lacks a modality has the mean of its other modalities' logits, an extension.",
        "Several labels, whose distance is the mean KL divergence of each, are an extension.",
    )
    _taught: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)  # features (B, d) of the teachers

    @property
    def phase(self) -> int | None:
        """The rank of the modality that learns alone in the present epoch; None where all learn."""
        count = len(self.fit.model.modalities)
        return rank_of_turn(max(1, self.fit.epoch), round(self.share * self.fit.settings.epochs), count)

    @cached_property
    def ranking(self) -> list[str]:
        """The modalities by the mean score of their teachers on the training samples, the weakest first."""
        scores = self.teachers.mean_scores()
        return sorted(scores, key=scores.__getitem__)

    def held_back(self) -> list[str]:
        """The modalities whose encoders do not learn in the present epoch; of `variant=official` none as a whole."""
        if self.official or self.phase is None:
            return []
        return [m for m in self.ranking if m != self.ranking[self.phase]]

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.held_back()  # ranks the teachers, whose passes no step shall have
        for m in self.fit.model.modalities if self.official and self.share else ():
            if not any(p.ndim == 4 for p in self.fit.model.parameters_of(m, "encoder")):
                raise UserError(
                    f"g2d.variant=official holds back weights of four axes alone, and the encoder of '{m}' has none. "
                    f"Use an encoder with 2-D convolutions (encoder.{m}.kind), or g2d.variant=paper."
                )

    def own_weight(self) -> float:
        """0, because the own heads learn from the fused loss alone."""
        return 0.0

    def forward(self, batch: Batch) -> Outputs:
        return self._averaged(super().forward(batch), batch.having)

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        return self._averaged(super().predict(model, inputs), inputs.present)

    def _averaged(self, outputs: Outputs, having: Mapping[str, Tensor]) -> Outputs:
        if self.logits == "fusion":
            return outputs
        return averaged(outputs, having)

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        terms, held = super().loss(outputs, batch), self.held_back()
        asked = self.logit_weight or self.feature_weight or self.official
        self._taught = {m: self.teachers.features(m, batch) for m in outputs.features} if asked else {}
        for m, taught in self._taught.items():
            having = batch.having.get(m)
            if self.logit_weight:
                logits = self.teachers.logits(m, taught)
                apart = output_distance(outputs.logits, logits, self.fit.task, self.temperature)
                terms[f"outputs/{m}"] = self.logit_weight * loss_mean(apart, having)
            if self.feature_weight and m not in held:  # of an encoder that is held back it is a constant
                terms[f"features/{m}"] = self.feature_weight * feature_distance(outputs.features[m], taught, having)
        return terms

    def train_step(self, batch: Batch) -> None:
        held = self.held_back()
        if self.phase is not None and not self.official:
            for m in self.fit.model.modalities:
                self.fit.log(f"coefficient/{m}", float(m not in held))
        with without_gradient([p for m in held for p in self.fit.model.parameters_of(m, "encoder")]):
            super().train_step(batch)

    @torch.no_grad()
    def after_backward(self, outputs: Outputs, batch: Batch) -> None:
        if not self.official or self.phase is None:
            return
        modalities = self.fit.model.modalities
        logits = torch.stack([self.teachers.logits(m, self._taught[m]) for m in modalities])
        scores = batch_mean(self.fit.task.true_score(logits, batch.target), modalities, batch.having)
        learns = of_rank(scores, self.phase)
        for m, kept in zip(modalities, learns.unbind(), strict=True):
            self.fit.log(f"coefficient/{m}", kept)
            for p in self.fit.model.parameters_of(m, "encoder"):
                if p.ndim == 4 and p.grad is not None:
                    p.grad.mul_(kept)
