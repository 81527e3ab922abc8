"""Ensemble: the predictions of the finished unimodal runs, averaged; nothing is trained."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel, Outputs
from mcr_bench.bench.settings.declaration import setting
from mcr_bench.methods.base import Method, Needs, Reference, Requirement
from mcr_bench.methods.terms.unimodal_start import start_from_unimodal, unimodal_runs


def standardised_sum(members: list[Tensor], size: int) -> Tensor:
    """Sum over the members' logits (N, C), of which each block of `size` rows has mean 0 and standard deviation 1.

    One mean and one (unbiased) deviation over the rows and classes of a block; a block of equal logits becomes 0.
    """
    blocks = [[_standardised(block) for block in logits.float().split(size)] for logits in members]
    return torch.stack([torch.cat(member) for member in blocks]).sum(0)


def _standardised(block: Tensor) -> Tensor:
    return (block - block.mean()) / block.std().clamp(min=torch.finfo(block.dtype).tiny)


@dataclass
class Ensemble(Method):
    """z = log(mean_m softmax(h_m)) of the unimodal runs' own logits h_m; in regression z = mean_m h_m.

    `rule=logits`: z = mean_m h_m. `rule=standardised`: z = sum_m (h_m - mean(h_m)) / std(h_m) over a batch.
    """

    rule: Literal["probabilities", "logits", "standardised"] = setting(
        "probabilities",
        "probabilities, logits: their mean; standardised: the MCR code's sum of logits, each standardised over "
        "`batch_size` samples in the order of their part; a regression averages its outputs",
    )
    name: ClassVar[str] = "ensemble"
    role = "ensemble"
    trains: ClassVar[bool] = False
    reference: ClassVar[Reference] = Reference("Ensemble of networks trained on one modality each", "baseline")
    needs: ClassVar[Needs] = Needs(own_heads=True, at_least=2)
    deviations: ClassVar[tuple[str, ...]] = (
        "the mean of the probabilities; the MCR code sums batch-standardised logits (rule=standardised; read in its "
        "configuration of CREMA-D Conformer), by which a prediction depends on what else is in its batch: accuracies "
        "differ by up to five points on one seed",
    )

    def requires(self, modalities: tuple[str, ...]) -> list[Requirement]:
        return unimodal_runs(modalities)

    def on_fit_start(self) -> None:
        start_from_unimodal(self.fit)

    def own_weight(self) -> float:
        """0: no head is trained here."""
        return 0.0

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        outputs = super().predict(model, inputs)
        return replace(outputs, logits=self._combined(model, list(outputs.own_logits.values())), branch_logits=None)

    def _combined(self, model: MultimodalModel, members: list[Tensor]) -> Tensor:
        if self.rule == "standardised" and not model.task.regression:
            return standardised_sum(members, self.fit.settings.batch_size)
        return model.task.combine(members, self.rule)
