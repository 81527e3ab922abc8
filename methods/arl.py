"""ARL: encoders learn faster the more certain their modality is and the less it contributes."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.bench.task import Task
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Defect, Group, Needs, OfficialCode, Reference
from mcr_bench.methods.terms.distillation.divergence import log_probabilities
from mcr_bench.methods.terms.features.alone import logits_alone
from mcr_bench.methods.terms.losses import batch_mean, loss_of
from mcr_bench.methods.terms.modulation import Modulation
from mcr_bench.methods.terms.scores import SMALLEST, squared_errors
from mcr_bench.methods.terms.variants import WithVariants

LEAST, RELEASED = 0.6, 0.5  # M times the least share of uncertainty, .3 of two; the weight that the code never changes


def asymmetry(uncertainty: Tensor, size: Tensor, temperature: float) -> Tensor:
    """The weights (M,), which sum to 1: softmax_m(T o_m c_m).

    c_m is the share of 1 / e_m among all, with the share e_m of the modality's uncertainty, at least .6 / M; o_m is the
    mean share in size of the other modalities.

    uncertainty, size: (M,), positive.

    >>> asymmetry(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]), temperature=0.0)
    tensor([0.5000, 0.5000])
    """
    count = len(size)
    inverse = 1 / (uncertainty / uncertainty.sum()).clamp_min(LEAST / count)
    others = (1 - size / size.sum()) / (count - 1)
    return (temperature * others * inverse / inverse.sum()).softmax(0)


def entropies(logits: Tensor, task: Task) -> Tensor:
    """The entropies (M, B) in nats of the predictions with logits (M, B, C); of several labels the mean of each one's.

    >>> entropies(torch.zeros(1, 1, 4), Task(4)).exp()
    tensor([[4.]])
    """
    log_p = log_probabilities(logits, task)  # (M, B, K, J)
    return -(log_p.exp() * log_p).sum((-2, -1)) / log_p.shape[-2]


@dataclass
class Arl(WithVariants, Modulation):
    """Minimise CE(z, y) + gamma sum_m CE(z_m, y); the gradient of encoder m is multiplied by 1 + w_m.

    z_m = F(0, .., f_m, .., 0) from the fusion head F of z. w = softmax_m(T o_m c_m): o_m is the mean contribution share
    of the other modalities, by mean |z_m|, and c_m is proportional to 1 / e_m, where e_m is the modality's share of
    the mean entropies of softmax(z_m), at least .6 / M. In a regression the mean squared error is in the entropy's
    place. Outside of the window of epochs gamma is 1, and no gradient is multiplied.
    """

    gamma: float = setting(
        4.0, "weight of the unimodal losses", origin="ARL code, CREMA-D", at_least=0, space=Space(0.5, 10, log=True)
    )
    temperature: float = setting(
        8.0,
        "T, how unequal the weights are; 0 = all equal",
        origin="ARL code, CREMA-D",
        at_least=0,
        space=Space(1, 32, log=True),
    )
    start: int = setting(
        7,
        "first epoch in which gamma counts and gradients are multiplied; shorter runs have neither",
        origin="ARL code",
        at_least=1,
    )
    name: ClassVar[str] = "arl"
    title: ClassVar[str] = "ARL"
    group: ClassVar[Group] = "modulation"
    reference: ClassVar[Reference] = Reference(
        "Improving Multimodal Learning via Imbalanced Learning", "ICCV 2025", "2507.10203"
    )
    official_code: ClassVar[OfficialCode | None] = OfficialCode(
        "github.com/shicaiwei123/ICCV2025-ARL",
        "358af4f",
        "ends with a TypeError in its epoch 6 (backbone.py:81)",
    )
    defects: ClassVar[tuple[Defect, ...]] = (
        Defect(
            "main_arl_variance.py:149-164",
            "The weights are computed and never given to the model, in which both stay 0.5, so that all encoders get "
            "the same factor 1.5: a larger learning rate.",
            "The gradient of encoder m is multiplied by 1 + w_m.",
        ),
    )
    needs: ClassVar[Needs] = Needs(own_features=True, at_least=2)
    without_neutral: ClassVar[str] = "Gradients are multiplied by more than 1 under all settings."
    deviations: ClassVar[tuple[str, ...]] = (
        "It is not known which variant the published numbers come from, as the released code stops with an error.",
        "The passes with zeros are made in evaluation mode of the fusion head. Official code: in training mode.",
        "More than two modalities are an extension: the others' shares are averaged, and the least share is .6 / M.",
        "In a regression the mean squared error stands for the entropy, an extension.",
        "In a batch without a modality its uncertainty and contribution count as the mean of the others'.",
        "The validation part selects the epoch. Official code: the test part.",
    )
    _alone: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)  # z_m of the present step

    def touches(self, modality: str) -> list[nn.Parameter]:
        return self.fit.model.parameters_of(modality, "encoder")

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        task, gamma = self.fit.task, self.gamma if self.active else 1.0
        self._alone = logits_alone(self.fit.model, outputs.features)
        alone = {
            f"alone/{m}": gamma * loss_of(task, z, batch.target, batch.having.get(m)) for m, z in self._alone.items()
        }
        return super().loss(outputs, batch) | alone

    def after_backward(self, outputs: Outputs, batch: Batch) -> None:
        super().after_backward(outputs, batch)
        if not self.active:
            for m in self.fit.model.modalities:
                self.fit.log(f"coefficient/{m}", 1.0)

    def coefficients(self, outputs: Outputs, batch: Batch) -> Tensor:
        logits = torch.stack([z.detach() for z in self._alone.values()])
        size = _known(batch_mean(logits.abs().sum(-1), list(self._alone), batch.having))
        if self.official:
            return torch.full_like(size, 1 + RELEASED)
        return 1 + asymmetry(_known(self._uncertainty(logits, batch)), size, self.temperature)

    def _uncertainty(self, logits: Tensor, batch: Batch) -> Tensor:
        """(M,), of logits (M, B, C); nan for a modality that no sample of the batch has."""
        if self.fit.task.regression:
            return squared_errors(dict(zip(self._alone, logits, strict=True)), batch.target, batch.having)
        return batch_mean(entropies(logits, self.fit.task), list(self._alone), batch.having)


def _known(values: Tensor) -> Tensor:
    """Values (M,) with the mean of the others in place of nan, and none below 1e-8."""
    return torch.where(values.isnan(), values.nanmean(), values).clamp_min(SMALLEST)
