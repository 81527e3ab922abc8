"""Unimodal pre-training, then multi-loss: encoders and own heads start from the unimodal runs."""

from dataclasses import dataclass

from torch import Tensor

from mcr_bench.bench.fit import Batch, Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Method, Needs, Neutral, Reference, Requirement
from mcr_bench.methods.terms.losses import multi_loss
from mcr_bench.methods.terms.unimodal_start import start_from_unimodal, unimodal_runs


@dataclass
class UniPreMultiLoss(Method):
    """Minimise L = CE(z, y) + weight sum_m CE(h_m, y); encoders and own heads start from the unimodal runs' weights."""

    weight: float = setting(
        1.0, "weight of the own heads' losses", origin="MLB code", at_least=0, space=Space(0.01, 10, log=True)
    )
    name = "uni-pre-multi-loss"
    title = "Unimodal pre-training, then multi-loss"
    group = "baseline"
    role = "reference"
    reference = Reference("Multi-loss training from encoders trained on one modality each", "baseline")
    needs = Needs(own_heads=True, at_least=2)
    neutral = (Neutral({"weight": 0.0}, "uni-pre-finetuned"),)

    def requires(self, modalities: tuple[str, ...]) -> list[Requirement]:
        return unimodal_runs(modalities)

    def on_fit_start(self) -> None:
        start_from_unimodal(self.fit)

    def own_weight(self) -> float:
        return self.weight

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        return multi_loss(self.fit.task, outputs, batch.target, self.weight, batch.having, batch.own)
