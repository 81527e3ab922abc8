"""LFM: besides the loss of their mean prediction the modalities learn to agree, with a weight that changes."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from mcr_bench.bench.fit import Batch, Inputs, MultimodalModel, Outputs, State
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Defect, EpochBatches, Needs, OfficialCode, Reference
from mcr_bench.methods.terms.losses import stacked
from mcr_bench.methods.terms.modes import evaluation_mode, twice_differentiable
from mcr_bench.methods.terms.objectives.agreement import averaged, disagreement
from mcr_bench.methods.terms.objectives.alignment_weight import LEAST, MOST, clipped, faded_weight, released_weight
from mcr_bench.methods.terms.objectives.hypergradient import product_with_hessian, slope_of_weight
from mcr_bench.methods.terms.variants import WithVariants


@dataclass
class Lfm(WithVariants):
    """Minimise 2 (a_0 CE(z, y) + a_1 JS), z = mean_m h_m of the own heads' logits; a_0 + a_1 = 1, 0.05 <= a_1 <= 0.95.

    JS = mean_m KL(p_m || mean_j p_j) with p_m = softmax(h_m); of scores the mean squared difference of two modalities.
    Learned: before every `every`-th epoch a_1 <- a_1 - rate g. g is the slope in a_1 of CE(z, y) on samples that are
    held out of training, after products + 1 steps of gradient descent on a batch's loss, per unit of the learning rate:
    g = -<2 grad(JS - CE), sum_{q=0}^{products} (I - lr H)^q grad CE_held> with the Hessian H of the batch's loss.
    Heuristic: a_0 = exp(-decay t) in epoch t + 1. A sample that lacks a modality counts with those that it has.
    """

    schedule: Literal["learned", "heuristic", "falling"] = setting(
        "learned",
        "how the weight a_1 of the alignment changes; learned: on samples that are held out; heuristic: it rises, "
        "a_0 = exp(-decay t); falling: a_1 = exp(-decay t), as an earlier commit of the official code",
    )
    rate: float = setting(
        1e-4,
        "learned: step length of a_1; 0 = it stays; with the official one it hardly moves in a hundred epochs",
        origin="LFM code",
        at_least=0,
        space=Space(1e-4, 1, log=True),
    )
    start: float = setting(
        0.95, "learned: a_1 at first", origin="LFM code", at_least=LEAST, at_most=MOST, space=Space(LEAST, MOST)
    )
    every: int = setting(1, "learned: epochs from one step of a_1 to the next", origin="LFM code", at_least=1)
    halving: int = setting(
        20, "learned: epochs after which the step length is halved; 0 = never", origin="LFM code", at_least=0
    )
    products: int = setting(
        1, "learned: Hessian-vector products for each step of a_1; 0 needs no second derivatives", at_least=0
    )
    held_out: int = setting(
        16,
        "learned: training samples that are held out, at most a fifth of all",
        origin="LFM code",
        at_least=1,
        at_most=4096,
    )
    decay: float = setting(
        0.3,
        "heuristic and falling: how fast the weight changes",
        origin="LFM code before 49d429f",
        at_least=0,
        space=Space(0.01, 1, log=True),
    )
    fitted: bool = setting(
        True,
        "variant=official, learned: a_1 is the polynomial that was fitted to an earlier run, as in Crema_epoch.py; "
        "false: it is learned as in Crema_epoch_learnable.py",
    )
    name = "lfm"
    title = "LFM"
    group = "multi-objective"
    reference = Reference(
        "Facilitating Multimodal Classification via Dynamically Learning Modality Gap", "NeurIPS 2024"
    )
    official_code = OfficialCode("github.com/njustkmg/NeurIPS24-LFM", "ad44fa0")
    defects = (
        Defect(
            "Crema_epoch.py:47-53",
            "The learned weight is a polynomial of degree five in the epoch, fitted to an earlier run and hard-coded.",
            "The weight is learned in the run itself.",
        ),
        Defect(
            "Crema_epoch_learnable.py:55-96",
            "In place of the slope in the weight it takes the mean of one layer's entries in the product of the "
            "Hessian with the gradient of the fused loss, both on eight training samples (`fitted=false`).",
            "The weight follows the slope of the loss on held-out samples.",
        ),
        Defect(
            "Crema_epoch.py:38-45",
            "The divergences are taken from the mean to each modality, KL(mean_j p_j || p_m).",
            "The Jensen-Shannon divergence is that from each modality to the mean.",
        ),
    )
    published = "official"
    needs = Needs(own_heads=True, at_least=2)
    without_neutral = (
        "The alignment keeps a weight of 0.05 at least, and no simpler method trains the mean of the own heads alone."
    )
    deviations = (
        "Formulas are those of a summary of the paper and of the official code; the paper could not be read.",
        "Samples for a_1 are held out of the training part and never trained on; validation and test part stay unseen. "
        "Official code: the test part selects the epoch.",
        "The batch of the slope in a_1 is the first of the epoch, in evaluation mode. Official code: that of the held "
        "out samples too, without the factor 2, which variant=official keeps.",
        "The summary says that the weight of the labels falls with the epochs (heuristic); in an earlier commit of the "
        "official code it rises (falling).",
        "variant=official: after epoch 200 the polynomial, which is not bounded, stays as it was.",
        "The step length lr of the slope is the run's learning rate, without its schedule.",
        "More than two modalities are compared with their mean; the official code takes two. Scores and several labels "
        "are extensions.",
    )
    _weight: float = field(default=0.0, init=False, repr=False)  # a_1 where it is learned
    _held: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64), init=False, repr=False)

    @property
    def learns(self) -> bool:
        """Whether a_1 is learned in this run, on samples that are held out."""
        return self.schedule == "learned" and not (self.official and self.fitted)

    @property
    def weight(self) -> float:
        """The weight a_1 of the alignment in the present epoch."""
        if self.learns:
            return self._weight
        passed = max(1, self.fit.epoch) - 1
        if self.schedule == "learned":
            return released_weight(passed)
        faded = faded_weight(passed, self.decay)
        return faded if self.schedule == "falling" else 1 - faded

    def own_weight(self) -> float:
        """0, because the own heads learn from the loss of their mean alone.

        An evaluation's `total_loss` is this loss, without the factor 2 a_0, which differs between epochs.
        """
        return 0.0

    def on_fit_start(self) -> None:
        self._weight, count = self.start, len(self.fit.train)
        if self.learns:
            drawn = torch.randperm(count, generator=self.fit.generator("held out"))
            self._held = drawn[: min(self.held_out, count // 5)]

    def on_epoch_start(self) -> None:
        passed = self.fit.epoch - 1
        if self.learns and self.rate and len(self._held) and passed % self.every == 0:
            rate = self.rate * 0.5 ** (passed // self.halving if self.halving else 0)
            self._weight = clipped(self._weight - rate * float(self.slope()))
        self.fit.log("weight/alignment", self.weight)

    def epoch_batches(self, epoch: int) -> EpochBatches | None:
        return EpochBatches(self._trained()) if self.learns else None

    def _trained(self) -> Tensor:
        """The samples (n,) that this epoch trains on, in their order."""
        order = self.fit.order()
        return order[~torch.isin(order, self._held)]

    def slope(self) -> Tensor:
        """The slope g () that a_1 follows, at the present weights; of `variant=official` what the code has for it."""
        fit, a = self.fit, self._weight
        at = [p for m in fit.model.modalities for p in fit.model.parameters_of(m, "encoder")]
        at += [p for m in fit.model.modalities for p in fit.model.parameters_of(m, "own_head")]
        at = [p for p in at if p.requires_grad]
        with evaluation_mode(fit.model), twice_differentiable(fit.model):
            if self.official:
                fused, alignment = self._objectives(self._held[: max(1, len(self._held) // 2)])
                slopes = torch.autograd.grad(fused, at, retain_graph=True, allow_unused=True)
                used, vector = zip(*((p, g) for p, g in zip(at, slopes, strict=True) if g is not None), strict=True)
                return product_with_hessian((1 - a) * fused + a * alignment, vector, used, used[:1])[0].mean()
            outer, _ = self._objectives(self._held)
            fused, alignment = self._objectives(self._trained()[: fit.settings.batch_size])
            inner = 2 * ((1 - a) * fused + a * alignment)
            return slope_of_weight(outer, inner, 2 * (alignment - fused), at, fit.settings.optimizer.lr, self.products)

    def _objectives(self, index: Tensor) -> tuple[Tensor, Tensor]:
        batch = self.fit.train.batch(index.to(self.fit.train.target.device))
        return self.objectives(self.forward(batch), batch)

    def objectives(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss () of the mean prediction, and how far the modalities are apart, () as a mean over samples."""
        logits = outputs.own_logits
        having = stacked(list(logits), batch.having)
        apart = disagreement(torch.stack(list(logits.values())), self.fit.task, having, backward=self.official)
        return self.fit.task.loss(outputs.logits, batch.target), apart.mean()

    def forward(self, batch: Batch) -> Outputs:
        return averaged(super().forward(batch), batch.having)

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        return averaged(super().predict(model, inputs), inputs.present)

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        fused, alignment = self.objectives(outputs, batch)
        return {"fused": 2 * (1 - self.weight) * fused, "alignment": 2 * self.weight * alignment}

    def state_dict(self) -> State:
        return {"weight": self._weight}

    def load_state_dict(self, state: State) -> None:
        self._weight = state["weight"]
