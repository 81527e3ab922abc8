"""Ensemble: the average of the predictions of the finished unimodal runs; nothing is trained."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from mcr_bench.bench.fit import Facts, Inputs, MultimodalModel, Outputs
from mcr_bench.bench.settings.declaration import setting
from mcr_bench.methods.base import Method, Needs, Reference, Requirement
from mcr_bench.methods.terms.unimodal_start import start_from_unimodal, unimodal_runs


def standardised_sum(members: list[Tensor], size: int) -> Tensor:
    """The sum (N, C) over models of their logits (N, C), standardised in blocks of `size` rows.

    Each block of a model's logits is given mean 0 and standard deviation 1, both over its rows and classes; the
    deviation is the unbiased one. A block of equal logits becomes 0.

    >>> standardised_sum([torch.tensor([[1.0, 3.0], [5.0, 5.0]])], size=1)
    tensor([[-0.7071,  0.7071],
            [ 0.0000,  0.0000]])
    """
    blocks = [[_standardised(block) for block in logits.float().split(size)] for logits in members]
    return torch.stack([torch.cat(member) for member in blocks]).sum(0)


def _standardised(block: Tensor) -> Tensor:
    return (block - block.mean()) / block.std().clamp(min=torch.finfo(block.dtype).tiny)


@dataclass
class Ensemble(Method):
    """Predict z = log(mean_m softmax(h_m)), where h_m are the logits of the unimodal run of modality m.

    With several labels, z is the log-odds of the mean probability of each. In a regression, and with `rule=logits`,
    z = mean_m h_m. With `rule=standardised`,
    z = sum_m (h_m - mean(h_m)) / std(h_m) with mean and deviation over a batch and its classes.
    """

    rule: Literal["probabilities", "logits", "standardised"] = setting(
        "probabilities",
        "probabilities: their mean; logits: their mean; standardised: the sum of logits of the MCR code, each model's "
        "standardised over `batch_size` samples at a time, in the order of the part; a regression always averages its "
        "outputs, and several labels are refused",
    )
    name = "ensemble"
    title = "Ensemble"
    group = "baseline"
    selections = ("table1", "primary")
    role = "ensemble"
    trains = False
    reference = Reference("Ensemble of networks trained on one modality each", "baseline")
    needs = Needs(own_heads=True, at_least=2)
    deviations = (
        "The prediction is the mean of the probabilities. The MCR code sums logits that are standardised in each batch "
        "(`rule=standardised`; see its configuration of CREMA-D Conformer), so that a prediction depends on the other "
        "samples of its batch; accuracies of one seed differ by up to five points between the two.",
    )

    def skip(self, facts: Facts) -> str | None:
        if self.rule == "standardised" and facts.task.multi_label:
            return "rule=standardised is not defined for several labels: it moves half of all logits above 0"
        return None

    def requires(self, modalities: tuple[str, ...]) -> list[Requirement]:
        return unimodal_runs(modalities)

    def on_fit_start(self) -> None:
        start_from_unimodal(self.fit)

    def own_weight(self) -> float:
        """0, because no head is trained."""
        return 0.0

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        outputs = super().predict(model, inputs)
        return replace(outputs, logits=self._combined(model, list(outputs.own_logits.values())), branch_logits=None)

    def _combined(self, model: MultimodalModel, members: list[Tensor]) -> Tensor:
        if self.rule == "standardised" and not model.task.regression:
            return standardised_sum(members, self.fit.settings.batch_size)
        return model.task.combine(members, self.rule)
