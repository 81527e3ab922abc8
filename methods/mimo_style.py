"""MIMO-style: the fused loss and a smooth maximum of the unimodal losses, so that the worst one weighs most."""

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor

from mcr_bench.bench.fit import Batch, Evaluation, MultimodalModel, Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Method, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.losses import own_losses
from mcr_bench.methods.terms.objectives.scalarisers import LossHistory, filled, log_ratios, seen, smooth_maximum


@dataclass
class MimoStyle(Method):
    """Minimise L + lambda (1/mu) log((1/M) sum_m exp(mu v_m)), where L = CE(z, y) and v_m = L_m = CE(h_m, y).

    Its gradient is that of L plus lambda sum_m pi_m times that of v_m, with pi = softmax(mu v). Reconstructed from an
    abstract, which names a smoothly penalised worst unimodal objective, but no formula.
    With normalise=log-ratio v_m = log(L_m / r_m), where r_m is the mean of L_m in the first epoch. In that epoch the
    second term is lambda times the mean of log L_m, its limit for small mu, in which r_m does not count.
    """

    lambda_own: float = setting(
        1.0, "weight lambda of the unimodal losses; 0 = joint training", at_least=0, space=Space(0.1, 10, log=True)
    )
    mu: float = setting(
        5.0, "sharpness: near 0 the mean of the losses, large the worst", at_least=1e-3, space=Space(1, 10, log=True)
    )
    normalise: Literal["none", "log-ratio"] = setting(
        "none", "the unimodal losses that are compared; none: as they are; log-ratio: relative to the first epoch"
    )
    name = "mimo-style"
    title = "MIMO-style"
    group = "multi-objective"
    reference = Reference(
        "In the style of the abstract of: Mitigating Modality Imbalance in Multi-modal Learning via Multi-objective "
        "Optimization",
        "arXiv 2025",
        "2511.06686",
    )
    official_code = OfficialCode("github.com/heshandevaka/MIMO", state="announced, nothing released")
    needs = Needs(own_heads=True, at_least=2)
    neutral = (
        Neutral({"lambda_own": 0.0}, "joint"),
        Neutral({"lambda_own": 0.0, "normalise": "log-ratio"}, "joint"),
    )
    deviations = (
        "The formula is reconstructed: the paper's constants, schedules and normalisation are not known.",
        "normalise=log-ratio is an extension, the rule of STCH in place of losses on their own scale.",
    )

    def build(self, model: MultimodalModel) -> None:
        if self.normalise == "log-ratio":
            model.extras["history"] = LossHistory(len(model.modalities))

    @property
    def history(self) -> LossHistory:
        """The unimodal losses of the first epoch, a part of the model with normalise=log-ratio."""
        return cast(LossHistory, self.fit.model.extras["history"])

    def own_weight(self) -> float:
        """lambda / M, that of a mean: an evaluation's `total_loss` has the limit of the smooth maximum for small mu."""
        return self.lambda_own / len(self.fit.model.modalities)

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        own = own_losses(self.fit.task, outputs, batch.target, batch.having, batch.own)
        values = filled(torch.stack(list(own.values())), seen(list(own), batch.having))
        if self.normalise == "none":
            worst = self._worst(list(own), values)
        elif self.fit.epoch > 1:
            worst = self._worst(list(own), log_ratios(values, self.history.last))
        else:
            self.history.add(values)
            worst = log_ratios(values, torch.ones_like(values)).mean()
        return {"fused": self.fit.task.loss(outputs.logits, batch.target), "worst": self.lambda_own * worst}

    def _worst(self, modalities: list[str], values: Tensor) -> Tensor:
        """The smooth maximum () of the values (M,); their shares in its gradient are logged."""
        shares = torch.softmax(self.mu * values.detach(), 0)
        self.fit.log_each([f"coefficient/{m}" for m in modalities], shares)
        return smooth_maximum(values, self.mu)

    def on_epoch_end(self, validation: Evaluation) -> None:
        if self.normalise == "log-ratio" and self.fit.epoch == 1:
            self.history.end_epoch()
