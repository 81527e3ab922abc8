"""Ensemble: the predictions of the finished unimodal runs, averaged; nothing is trained."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel, Outputs
from mcr_bench.bench.settings import setting
from mcr_bench.methods.base import Method, Needs, Reference, Requirement
from mcr_bench.methods.terms.unimodal_start import start_from_unimodal, unimodal_runs


@dataclass
class Ensemble(Method):
    """z = log(mean_m softmax(h_m)), or z = mean_m h_m (`rule=logits`, and regression), of the unimodal runs' h_m."""

    rule: Literal["probabilities", "logits"] = setting(
        "probabilities", "what is averaged; a regression averages its outputs"
    )
    name: ClassVar[str] = "ensemble"
    role = "ensemble"
    trains: ClassVar[bool] = False
    reference: ClassVar[Reference] = Reference("Ensemble of networks trained on one modality each", "baseline")
    needs: ClassVar[Needs] = Needs(own_heads=True, at_least=2)

    def requires(self, modalities: tuple[str, ...]) -> list[Requirement]:
        return unimodal_runs(modalities)

    def on_fit_start(self) -> None:
        start_from_unimodal(self.fit)

    def own_weight(self) -> float:
        """0: no head is trained here."""
        return 0.0

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        outputs = super().predict(model, inputs)
        combined = model.task.combine(list(outputs.own_logits.values()), self.rule)
        return replace(outputs, logits=combined, branch_logits=None)
