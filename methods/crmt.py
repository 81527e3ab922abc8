"""CRMT: wide margins for every modality alone, then scales of modalities that raise a certified radius."""

from dataclasses import dataclass, field
from typing import Literal, cast

import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit import Batch, Facts, MultimodalModel, Outputs, State
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Defect, Delay, Needs, OfficialCode, Reference
from mcr_bench.methods.terms.certified.radius import certified_radius, largest_slopes, soft_margin
from mcr_bench.methods.terms.certified.unit_rows import Scaled, UnitRowsSum
from mcr_bench.methods.terms.losses import stacked
from mcr_bench.methods.terms.modes import evaluation_mode, without_gradient
from mcr_bench.methods.terms.variants import WithVariants


@dataclass
class CRMT(WithVariants):
    """Logits are z = sum_m a_m * z_m + b with z_m = W_m f_m, the rows of W_m being orthogonal and of length 1.

    At first L = CE(z, y) + rho mean_i log sum_m sum_{c != y} exp(z_m[c] - z_m[y]) is minimised. In the last epochs
    (`share`) the scales a_m (C,) alone are trained, to raise the certified radius

        r_i = (sum_m (a_m[y] z_m[y] - a_m[k] z_m[k]) + b[y] - b[k]) / sqrt(sum_m (|a_m[y]| t_m[y] + |a_m[k]| t_m[k])^2),

    where k is the wrong class of the largest logit, and t_m[c] is the largest norm of the gradient of z_m[c] with
    respect to the input of modality m over the training samples, when these epochs begin.
    """

    rho: float = setting(2.0, "weight of the margins", origin="CRMT code", at_least=0, space=Space(0.1, 10, log=True))
    share: float = setting(
        0.25,
        "share of the run's epochs, its last ones, in which the scales alone are trained; 0 = none",
        origin="CRMT code: 45 of 185 epochs",
        at_least=0,
        at_most=0.9,
        space=Space(0, 0.5),
    )
    scale_rate: float = setting(
        0.03,
        "learning rate of these epochs, as a multiple of the run's",
        origin="CRMT code",
        at_least=0,
        space=Space(1e-3, 1, log=True),
    )
    name = "crmt"
    title = "CRMT"
    group = "architecture"
    reference = Reference(
        "Quantifying and Enhancing Multi-modal Robustness with Modality Preference", "ICLR 2024", "2402.06244"
    )
    official_code = OfficialCode("github.com/GeWu-Lab/Certifiable-Robust-Multi-modal-Training", "5c17d92")
    defects = (
        Defect(
            "models/fusion_model.py, orthogonal_linear",
            "Each row of a classifier is a group of its own (norm_groups = number of classes), so that its mean is "
            "removed and its length made 1, but rows are not orthogonal to each other.",
            "The rows of each modality's classifier are orthogonal.",
        ),
        Defect(
            "train.py, get_lip",
            "Slopes are those of the fused logits, which hold the scales already, and the radius multiplies by the "
            "scales again; and the gradient of the audio input alone is set to zero, before it is read, so that slopes "
            "of audio are 0 and those of the other modality are those of sums of logits over the classes so far.",
            "The slope of a class is that of the modality's own logit of this class.",
        ),
    )
    published = "official"
    needs = Needs(additive_fusion=True, classification=True, at_least=2)
    without_neutral = "Under all settings its fusion head has rows of unit length, and scales."
    waits = "PyTorch reads whether the singular value decomposition of a classifier has converged"
    delays = (Delay("share", "last"),)
    deviations = (
        "1e-5 is added to the sum of the margins before its logarithm, as in the official code, not in the paper.",
        "The scales are trained in the last epochs of the run by its optimiser. Official code: in 45 more epochs by "
        "another one, SGD with weight decay 1e-2. If patience ends the run before these epochs, they are not made.",
        "The radius has |a_m| in its denominator, without which it bounds nothing where scales differ in sign. "
        "Official code, and variant=official: a_m.",
        "While the scales are trained, the encoders are in evaluation mode. Official code: in training mode, so that "
        "the statistics of batch norm move.",
        "The validation part selects the epoch. Official code: the part that it reports on.",
        "The variants with adversarial training (AT) and with mix-up are left out: this is CRMT-JT.",
        "variant=official: the last modality, in the order of the data, is treated as audio, all others as vision.",
        "Samples that lack a modality have no margin and no slope of it; one without any slope has a radius of 0.",
    )
    _slopes: Tensor | None = field(default=None, init=False, repr=False)  # t (M, C), from the last epochs on

    def skip(self, facts: Facts) -> str | None:
        """The slopes are those by inputs, which ids of words do not have."""
        return facts.unmovable("takes slopes by inputs") if self.share else None

    def build(self, model: MultimodalModel) -> None:
        width, classes = model.width, model.task.outputs
        if not model.fusion.additive:
            raise UserError("crmt needs an additive fusion head. Use model.fusion=late-linear.")
        if classes > width and not self.official:
            raise UserError(
                f"crmt: {classes} orthogonal rows, one for each class, need features of a width of at least {classes}, "
                f"not {width}. Set model.width={classes} or more, or crmt.variant=official, which needs none."
            )
        rows: Literal["alone", "orthogonal"] = "alone" if self.official else "orthogonal"
        model.fusion = UnitRowsSum(model.modalities, width, classes, rows)

    @property
    def head(self) -> UnitRowsSum:
        """The fusion head."""
        return cast(UnitRowsSum, self.fit.model.fusion)

    @property
    def scaling(self) -> bool:
        """Whether the scales alone are trained in the present epoch."""
        epochs = self.fit.settings.epochs
        return self.fit.epoch > epochs - round(self.share * epochs)

    @property
    def slopes(self) -> Tensor:
        """The largest slopes t (M, C) of the modalities' logits, as the last epochs have found them."""
        if self._slopes is None:
            self._slopes = largest_slopes(self.fit, self.head, self.official)
        return self._slopes

    def on_epoch_start(self) -> None:
        if self.scaling:
            _ = self.slopes  # no step shall have its passes

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        logits = cast(Scaled, outputs.branch_logits).alone
        if self.scaling:
            return {"radius": -self._radius(logits, batch).mean()}
        margin = soft_margin(logits, batch.target, batch.having).mean()
        return {"fused": self.fit.task.loss(outputs.logits, batch.target), "margin": self.rho * margin}

    def _radius(self, logits: dict[str, Tensor], batch: Batch) -> Tensor:
        """The certified radius (B,) of the batch, with a gradient of the scales alone."""
        every, bias = torch.stack(list(logits.values())).detach(), self.head.bias
        assert bias is not None
        scales = torch.stack(list(self.head.scales().values()))
        kept = stacked(list(logits), batch.having)
        slopes = self.slopes.to(every)
        return certified_radius(every, scales, bias.detach(), slopes, batch.target, kept, self.official)

    def train_step(self, batch: Batch) -> None:
        if not self.scaling:
            super().train_step(batch)
            return
        learning = {id(scale) for scale in self.head.scales().values()}
        fixed = [p for p in self.fit.model.parameters() if id(p) not in learning]
        for group in self.fit.optimizer.param_groups:  # the loop sets the rate before every step
            group["lr"] *= self.scale_rate
        with evaluation_mode(self.fit.model), without_gradient(fixed):
            super().train_step(batch)

    def state_dict(self) -> State:
        return {"slopes": None if self._slopes is None else self._slopes.cpu().clone()}

    def load_state_dict(self, state: State) -> None:
        self._slopes = state["slopes"]
