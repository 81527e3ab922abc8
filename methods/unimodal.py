"""Unimodal training: one modality's encoder and own head alone, L = CE(h_m, y)."""

from dataclasses import dataclass, replace

from torch import Tensor

from mcr_bench.bench.fit import Batch, Groups, Inputs, MultimodalModel, Outputs
from mcr_bench.methods.base import Method, Needs, Reference
from mcr_bench.methods.terms.losses import own_losses


@dataclass
class Unimodal(Method):
    """Minimise L = CE(h_m, y) in a model of one modality, which predicts h_m. Each modality has a run of its own."""

    name = "unimodal"
    title = "Unimodal training"
    group = "baseline"
    selections = ("table1",)
    role = "unimodal"
    reference = Reference("One network per modality, trained alone", "baseline")
    needs = Needs(own_heads=True)
    predicts_otherwise = "its loss trains the own head, which predicts, and no fusion head"

    @classmethod
    def variants(cls, modalities: tuple[str, ...]) -> list[tuple[str, ...]]:
        return [(m,) for m in modalities]

    def parameter_groups(self, model: MultimodalModel) -> Groups:
        return [{"params": model.parameters_of(m, "encoder", "own_head")} for m in model.modalities]

    def own_weight(self) -> float:
        """0, because the own head gives the prediction, so that its loss is already the fused one."""
        return 0.0

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        own = own_losses(self.fit.task, outputs, batch.target, batch.having, batch.own)
        return {f"own/{m}": loss for m, loss in own.items()}

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        outputs = super().predict(model, inputs)
        (own,) = outputs.own_logits.values()
        return replace(outputs, logits=own, branch_logits=None)
