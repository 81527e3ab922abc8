"""MSLR: every encoder has a learning rate of its own, which rises while its modality gets better."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.fit.evaluated import Evaluation
from mcr_bench.bench.fit.returns import State
from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.datasets.base import Batch, Facts
from mcr_bench.methods.base import Delay, Group, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.losses import require_additive
from mcr_bench.methods.terms.modulation import Modulation
from mcr_bench.methods.terms.rates import factors_of, quotient, score_of


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
    name: ClassVar[str] = "mslr"
    title: ClassVar[str] = "MSLR"
    group: ClassVar[Group] = "modulation"
    selections: ClassVar[tuple[str, ...]] = ("table1",)
    reference: ClassVar[Reference] = Reference(
        "Modality-specific Learning Rates for Effective Multimodal Additive Late-fusion", "Findings of ACL 2022"
    )
    official_code: ClassVar[OfficialCode | None] = OfficialCode(state="read in someone else's code only (AGM, MLB)")
    needs: ClassVar[Needs] = Needs(additive_fusion=True, at_least=2)
    neutral: ClassVar[tuple[Neutral, ...]] = (
        Neutral({"memory": 0}, "joint"),
        Neutral({"memory": 0, "apply_to": "grad"}, "joint"),
    )
    delays: ClassVar[tuple[Delay, ...]] = (Delay("start", "first"), Delay("memory", "before", 1))
    deviations: ClassVar[tuple[str, ...]] = (
        "Steps of the optimiser are scaled, as learning rates are. AGM and MLB code: gradients (`apply_to=grad`).",
        "The accuracy is that on the validation part. AGM code: on the test part.",
        "Encoders alone are scaled, as in the MLB code. AGM code: the slices of the fusion head too (`slices`).",
        "q acts in all epochs from the second after K. AGM code: in epochs 0 to 20; MLB code: from one epoch later on.",
        "Without `rates` every c_m is 1. AGM and MLB code: 0.9 for audio and 1.1 for video.",
        "Where the mean of the last accuracies is 0, q is 1 instead of infinite.",
        "In a regression the accuracy is 1 / (mean absolute error + 1e-8), an extension.",
        "Of several labels the accuracy is the share of all labels that are right, an extension.",
    )
    _memory: dict[str, list[float]] = field(default_factory=dict, init=False, repr=False)
    _quotients: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _factors: Tensor = field(default_factory=lambda: torch.empty(0), init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        factors_of(self.rates, "mslr.rates")

    def skip(self, facts: Facts) -> str | None:
        """UserError where `rates` names something that the data does not have as a modality; it is never skipped."""
        for m in factors_of(self.rates):
            if m not in facts.modalities:
                raise UserError(f"mslr.rates={self.rates}: {unknown('modality', m, facts.modalities)}")
        return None

    def touches(self, modality: str) -> list[nn.Parameter]:
        encoder = self.fit.model.parameters_of(modality, "encoder")
        return encoder + self.fit.model.parameters_of(modality, "fusion_slice") if self.slices else encoder

    def on_fit_start(self) -> None:
        """Put the product of each modality's constant and quotient on the device; once per epoch, as they change."""
        constants, like = factors_of(self.rates), next(self.fit.model.parameters())
        values = [constants.get(m, 1.0) * self._quotients.get(m, 1.0) for m in self.fit.model.modalities]
        self._factors = torch.tensor(values, dtype=like.dtype, device=like.device)

    def on_epoch_end(self, validation: Evaluation) -> None:
        task, val = self.fit.task, self.fit.val
        for m, logits in (validation.split_logits or {}).items():
            kept, target = (val.having(m, task.learned(rows)) for rows in (logits, validation.target))
            if len(kept):
                score, memory = score_of(kept, target, task), self._memory.get(m, [])
                self._quotients[m] = quotient(score, memory, self.memory)
                self._memory[m] = [*memory, score][-max(1, self.memory) :]
        self.on_fit_start()

    def coefficients(self, outputs: Outputs, batch: Batch) -> Tensor:
        require_additive(outputs)
        return self._factors

    def state_dict(self) -> State:
        return {"memory": self._memory, "quotients": self._quotients}

    def load_state_dict(self, state: State) -> None:
        self._memory, self._quotients = dict(state["memory"]), dict(state["quotients"])
        self.on_fit_start()
