"""ARL: encoders learn faster the more certain their modality is and the less it contributes."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mcr_bench.bench.fit import Batch, Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Defect, Needs, OfficialCode, Reference
from mcr_bench.methods.terms.features.alone import logits_alone
from mcr_bench.methods.terms.gradients.asymmetry import asymmetry, mean_for_missing, prediction_entropies
from mcr_bench.methods.terms.losses import batch_mean, loss_of
from mcr_bench.methods.terms.modulation import Modulation
from mcr_bench.methods.terms.scores import squared_errors
from mcr_bench.methods.terms.variants import WithVariants


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
        8.0, "T; 0 = all weights are equal", origin="ARL code, CREMA-D", at_least=0, space=Space(1, 32, log=True)
    )
    start: int = setting(
        7, "first epoch in which gamma and the factors act; shorter runs have neither", origin="ARL code", at_least=1
    )
    name = "arl"
    title = "ARL"
    group = "modulation"
    reference = Reference("Improving Multimodal Learning via Imbalanced Learning", "ICCV 2025", "2507.10203")
    official_code = OfficialCode("github.com/shicaiwei123/ICCV2025-ARL", "358af4f", "stops in epoch 6 (backbone.py:81)")
    defects = (
        Defect(
            "main_arl_variance.py:149-164",
            "The weights are computed and never given to the model, in which both stay 0.5, so that all encoders get "
            "the same factor 1.5: a larger learning rate.",
            "The gradient of encoder m is multiplied by 1 + w_m.",
        ),
    )
    needs = Needs(own_features=True, at_least=2)
    without_neutral = "Gradients are multiplied by more than 1 under all settings."
    deviations = (
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
        alone = {m: loss_of(task, z, batch.target, batch.having.get(m)) for m, z in self._alone.items()}
        return super().loss(outputs, batch) | {f"alone/{m}": gamma * x for m, x in alone.items()}

    def after_backward(self, outputs: Outputs, batch: Batch) -> None:
        super().after_backward(outputs, batch)
        if not self.active:
            for m in self.fit.model.modalities:
                self.fit.log(f"coefficient/{m}", 1.0)

    def coefficients(self, outputs: Outputs, batch: Batch) -> Tensor:
        logits = torch.stack([z.detach() for z in self._alone.values()])
        size = mean_for_missing(batch_mean(logits.abs().sum(-1), list(self._alone), batch.having))
        if self.official:
            return torch.full_like(size, 1.5)  # 1 + .5, the weight that the code never changes
        return 1 + asymmetry(mean_for_missing(self._uncertainty(logits, batch)), size, self.temperature)

    def _uncertainty(self, logits: Tensor, batch: Batch) -> Tensor:
        """(M,), of logits (M, B, C); nan for a modality that no sample of the batch has."""
        if self.fit.task.regression:
            return squared_errors(dict(zip(self._alone, logits, strict=True)), batch.target, batch.having)
        return batch_mean(prediction_entropies(logits, self.fit.task), list(self._alone), batch.having)
