"""ReconBoost: modalities take turns at learning what the others' ensemble gets wrong; then all are trained jointly."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit import Batch, MultimodalModel, Outputs
from mcr_bench.bench.models.fusion import sum_of
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Defect, Needs, OfficialCode, Reference
from mcr_bench.methods.terms.boosting.order import InTurns
from mcr_bench.methods.terms.boosting.shared_head import SharedSum
from mcr_bench.methods.terms.boosting.turns import Place, phase_length, place_of
from mcr_bench.methods.terms.losses import having_each, loss_mean, split_of
from mcr_bench.methods.terms.modes import evaluation_mode


def focus(others: Tensor, target: Tensor, w1: float, w2: float) -> Tensor:
    """The weights (B,) of the samples' losses: (w1 - w2 q_y) / C, with the probability q_y that the others give y.

    others: logits (B, C) of the other modalities' ensemble. target: (B,) classes. No gradient flows through them.

    >>> focus(torch.zeros(1, 2), torch.tensor([0]), w1=5.0, w2=1.0)
    tensor([2.2500])
    """
    known = others.detach().softmax(1).gather(1, target[:, None])[:, 0]
    return (w1 - w2 * known) / others.shape[1]


def disagreement(own: Tensor, previous: Tensor) -> Tensor:
    """The mean squared difference (B,) of two modalities' class probabilities; `previous` gets no gradient.

    own, previous: logits (B, C).

    >>> disagreement(torch.tensor([[99.0, 0.0]]), torch.tensor([[0.0, 99.0]]))
    tensor([1.])
    """
    return (own.softmax(1) - previous.detach().softmax(1)).square().mean(1)


@dataclass
class ReconBoost(InTurns):
    """In stage t only modality m is trained, each in its turn, then all of them by L = CE(z, y).

    The fused logits are a sum, z = b sum_m z_m with z_m = H(f_m), a head H that all modalities share and a scale b.
    Alone, modality m minimises

        mean_i (1 / C) (w1 - w2 q_{i, y_i}) (-log p_m(y_i)) + alpha mean (p_m - p_n)^2,

    where p_m = softmax(z_m), q = softmax(b sum_{j != m} z_j) and n is the modality of the stage before; q and p_n get
    no gradient. The first stage has no second term. It is not defined for a regression: each modality would learn the
    whole score, and their sum M times the score; nor for several labels, as q and p_m are distributions over classes.
    """

    alpha: float = setting(
        0.5,
        "weight of the agreement with the modality of the stage before",
        origin="ReconBoost code",
        at_least=0,
        space=Space(0.01, 10, log=True),
    )
    w1: float = setting(
        5.0, "weight of a sample's loss", origin="ReconBoost code, CREMA-D", at_least=0, space=Space(1, 10)
    )
    w2: float = setting(
        1.0,
        "what is taken from that weight where the others are certain of the true class",
        origin="ReconBoost code, CREMA-D",
        at_least=0,
        space=Space(0.1, 1),
    )
    epochs_per_stage: int = setting(
        0,
        "epochs in which one modality is trained (ReconBoost code: 4); 0 = 4, and fewer in a run in which a modality "
        "would have fewer than four stages",
        at_least=0,
    )
    correct_epochs: int = setting(
        0, "epochs in which then all are trained (ReconBoost code: 4); 0 = as many as epochs_per_stage", at_least=0
    )
    head: Literal["shared", "fusion"] = setting(
        "shared",
        "what gives z_m; shared: the shared head, which replaces the fusion head; fusion: modality m's share of the "
        "fusion head, and b = 1, as in the MCR comparison",
        origin="ReconBoost code",
    )
    ensemble: Literal["others", "all"] = setting(
        "others",
        "whose sum gives q; others: that of the other modalities; all: the fused prediction, as in the MCR comparison",
        origin="ReconBoost code",
    )
    fresh: bool = setting(True, "whether each phase starts with an optimiser without moments", origin="ReconBoost code")
    name = "reconboost"
    title = "ReconBoost"
    group = "architecture"
    selections = ("table1",)
    reference = Reference("ReconBoost: Boosting Can Achieve Modality Reconcilement", "ICML 2024", "2405.09321")
    official_code = OfficialCode("github.com/huacong/ReconBoost", "441eb51", "complete")
    defects = (
        Defect(
            "train.py, ga_loss",
            "Both sides of the agreement term are detached, so that it has no gradient and changes nothing.",
            "The modality in training is drawn towards the one of the stage before.",
        ),
    )
    published = "official"
    needs = Needs(additive_fusion=True, classification=True, at_least=2)
    without_neutral = "Modalities take turns under all settings, so that none makes it a simpler method."
    deviations = (
        "Optimiser, learning rates and schedule are those of the run, for both phases. Official code: SGD at 0.01, "
        "weight decay 5e-4, with its own decay every 30 stages.",
        "The other modalities are in evaluation mode while one is trained. Official code: in training mode, so that "
        "passes without a gradient change the running statistics of batch norm.",
        "All modalities belong to the sum from the first epoch on. Official code without pre-training: each joins it "
        "after its first stage, and in the first stage q is 1 for every class.",
        "The order of the modalities is drawn from the seed. Official code: fixed, audio first (order=given).",
        "A stage counts in epochs of the run, 1 at least; the run ends with the run's epochs. Official code: 8 epochs "
        "each, and up to 1001 stages.",
    )

    def __post_init__(self) -> None:
        if self.w1 < self.w2:
            raise UserError(
                f"reconboost.w1={self.w1:g} is less than reconboost.w2={self.w2:g}, so that the loss of samples that "
                "the others know would be maximised. Set a larger w1, or a smaller w2."
            )

    @property
    def lengths(self) -> tuple[int, int]:
        """The epochs of a stage in which one modality is trained, and those in which all are."""
        alone = self.epochs_per_stage or phase_length(self.fit.settings.epochs, len(self.fit.model.modalities))
        return alone, self.correct_epochs or alone

    @property
    def place(self) -> Place:
        """The place of the present epoch in the schedule, which follows from its number alone."""
        return place_of(max(1, self.fit.epoch), *self.lengths)

    def build(self, model: MultimodalModel) -> None:
        if not model.fusion.additive:
            raise UserError(f"{self.name} needs an additive fusion head. Set model.fusion=late-linear.")
        if self.head == "shared":
            model.fusion = SharedSum(model.width, model.task.outputs)

    def on_epoch_start(self) -> None:
        if self.fresh and self.place.first:
            self.fit.optimizer.state.clear()

    def forward(self, batch: Batch) -> Outputs:
        if self.place.joint:
            return super().forward(batch)
        model, learner = self.fit.model, self._turn(self.place.stage)
        features = {m: self._encoded(m, batch, learns=m == learner) for m in model.modalities}
        return model.fuse(model.drop(features, batch.dropped, present=batch.inputs.present))

    def _turn(self, stage: int) -> str:
        return self.turns[stage % len(self.turns)]

    def _encoded(self, modality: str, batch: Batch, learns: bool) -> Tensor:
        """Features (B, d) of a modality; of one that does not learn in evaluation mode, without a gradient."""
        model, given = self.fit.model, (batch.inputs.values[modality], batch.inputs.lengths.get(modality))
        if learns:
            return model.encode_one(modality, *given)
        with torch.no_grad(), evaluation_mode(model.encoders[modality]):
            return model.encode_one(modality, *given)

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        stage, joint, _ = self.place
        if joint:
            return super().loss(outputs, batch)
        learner, z, split = self._turn(stage), self._alone(outputs), split_of(outputs)
        others = outputs.logits if self.ensemble == "all" else sum_of({m: z for m, z in split.items() if m != learner})
        weights, here = focus(others, batch.target, self.w1, self.w2), having_each(batch.having, learner)
        self.fit.log(f"coefficient/{learner}", loss_mean(weights, here))
        terms = {"boosting": loss_mean(weights * self.fit.task.per_sample(z[learner], batch.target), here)}
        if stage and self.alpha:
            before = self._turn(stage - 1)
            apart = disagreement(z[learner].detach() if self.official else z[learner], z[before])
            terms["agreement"] = self.alpha * loss_mean(apart, having_each(batch.having, learner, before))
        return terms

    def _alone(self, outputs: Outputs) -> dict[str, Tensor]:
        """Modality -> its logits z_m (B, C)."""
        fusion = outputs.model.fusion
        return fusion.alone(outputs.features) if isinstance(fusion, SharedSum) else split_of(outputs)
