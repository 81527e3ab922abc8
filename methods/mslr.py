"""MSLR: every encoder has a learning rate of its own, which rises while its modality gets better."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from mcr_bench.bench.fit import Batch, Evaluation, Facts, Outputs, State
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Delay, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.losses import require_additive
from mcr_bench.methods.terms.modulation import Modulation
from mcr_bench.methods.terms.rates import factors_of, quotient, require_modalities, split_scores


@dataclass
class Mslr(Modulation):
    """Joint training in which the steps of modality m's encoder are multiplied by k_m = c_m q_m.

    c_m is a constant (`rates`). q_m = a_m / mean of the last K values of a_m, where a_m is the validation accuracy of
    modality m's share z_m = W_m f_m + b / M of the logits after the epoch before; q_m = 1 while there are fewer than K.
    A modality whose accuracy rises gets a higher learning rate.
    """

    rates: str = setting("", "the constant c_m of each modality, as audio=0.9/video=1.1; 1 where none is given")
    memory: int = setting(
        5, "the number K of epochs in the mean; 0 = q is always 1", origin="AGM code", at_least=0, space=Space(1, 20)
    )
    slices: bool = setting(False, "also scale the modality's slice of the fusion head, as the AGM code")
    apply_to: Literal["grad", "lr"] = setting(
        "lr",
        "what is multiplied; grad: gradients, whose scale Adam largely cancels; lr: the optimiser's steps",
        origin="MSLR paper, learning rates",
    )
    name = "mslr"
    title = "MSLR"
    group = "modulation"
    selections = ("table1",)
    reference = Reference(
        "Modality-specific Learning Rates for Effective Multimodal Additive Late-fusion", "Findings of ACL 2022"
    )
    official_code = OfficialCode(state="read in someone else's code only (AGM, MLB)")
    needs = Needs(additive_fusion=True, at_least=2)
    neutral = (Neutral({"memory": 0}, "joint"), Neutral({"memory": 0, "apply_to": "grad"}, "joint"))
    delays = (Delay("start", "first"), Delay("memory", "before", 1))
    deviations = (
        "Steps of the optimiser are scaled, as learning rates are. AGM and MLB code: gradients (`apply_to=grad`).",
        "The accuracy is that on the validation part. AGM code: on the test part.",
        "Encoders alone are scaled, as in the MLB code. AGM code: the slices of the fusion head too (`slices`).",
        "q acts in all epochs from the second after K. AGM code: in epochs 0 to 20; MLB code: from one epoch later on.",
        "Without `rates` every c_m is 1. AGM and MLB code: 0.9 for audio and 1.1 for video.",
        "Where the mean of the last accuracies is 0, q is 1 instead of infinite.",
        "Extension: in a regression a_m = 1 / (mean absolute error + 1e-8), of several labels the share of right ones.",
    )
    _past: dict[str, list[float]] = field(default_factory=dict, init=False, repr=False)  # a_m, K + 1 of each
    _factors: Tensor = field(default_factory=lambda: torch.empty(0), init=False, repr=False)

    def skip(self, facts: Facts) -> str | None:
        """UserError where `rates` names something that the data does not have as a modality; it is never skipped."""
        require_modalities(factors_of(self.rates), facts.modalities, f"mslr.rates={self.rates}")
        return None

    def touches(self, modality: str) -> list[nn.Parameter]:
        encoder = self.fit.model.parameters_of(modality, "encoder")
        return encoder + self.fit.model.parameters_of(modality, "fusion_slice") if self.slices else encoder

    def on_fit_start(self) -> None:
        """Put the product of each modality's constant and quotient on the device; once per epoch, as they change."""
        constants, like = factors_of(self.rates), next(self.fit.model.parameters())
        past = {m: self._past.get(m, []) for m in self.fit.model.modalities}
        values = [constants.get(m, 1.0) * quotient(scores, self.memory) for m, scores in past.items()]
        self._factors = torch.tensor(values, dtype=like.dtype, device=like.device)

    def on_epoch_end(self, validation: Evaluation) -> None:
        for m, score in split_scores(validation, self.fit.val, self.fit.task).items():
            self._past[m] = [*self._past.get(m, []), score][-self.memory - 1 :]
        self.on_fit_start()

    def coefficients(self, outputs: Outputs, batch: Batch) -> Tensor:
        require_additive(outputs)
        return self._factors

    def state_dict(self) -> State:
        return {"past": self._past}

    def load_state_dict(self, state: State) -> None:
        self._past = dict(state["past"])
        self.on_fit_start()
