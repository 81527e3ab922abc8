"""MSLR: every encoder has a learning rate of its own, which rises while its modality gets better."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.fit.returns import State
from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.bench.task import Task
from mcr_bench.datasets.base import Batch, Facts
from mcr_bench.methods.base import Group, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.modulation import Modulation
from mcr_bench.methods.terms.rates import factors_of, quotient

if TYPE_CHECKING:
    from mcr_bench.bench.fit.evaluated import Evaluation


def score_of(logits: Tensor, target: Tensor, task: Task) -> float:
    """How good one modality's share (N, C) of the logits is: its accuracy; of scores 1 / (mean error + 1e-8).

    >>> score_of(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]), Task(2))
    0.5
    """
    if task.regression:
        return 1 / (float(task.loss(logits, target)) + 1e-8)
    return float((task.prediction(logits) == target).double().mean())


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
    deviations: ClassVar[tuple[str, ...]] = (
        "Steps of the optimiser are scaled, as the method is one of learning rates. AGM and MLB code: gradients "
        "(`apply_to=grad`), whose scale Adam largely cancels.",
        "The accuracy is that on the validation part. AGM code: on the test part.",
        "Encoders alone are scaled, as in the MLB code. AGM code: the slices of the fusion head too (`slices`).",
        "q acts in all epochs from the second after K. AGM code: in epochs 0 to 20; MLB code: from one epoch later on.",
        "Without `rates` every c_m is 1. AGM and MLB code: 0.9 for audio and 1.1 for video.",
        "Where the mean of the last accuracies is 0, q is 1 instead of infinite.",
        "In a regression the accuracy is 1 / (mean absolute error + 1e-8), an extension.",
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
        self._set_factors()

    def on_epoch_end(self, validation: "Evaluation") -> None:
        for m, logits in (validation.split_logits or {}).items():
            kept, target = (self.fit.val.having(m, rows) for rows in (logits, validation.target))
            if not len(kept):
                continue
            score, memory = score_of(kept, target, self.fit.task), self._memory.get(m, [])
            self._quotients[m] = quotient(score, memory, self.memory)
            self._memory[m] = [*memory, score][-max(1, self.memory) :]
        self._set_factors()

    def coefficients(self, outputs: Outputs, batch: Batch) -> Tensor:
        assert outputs.branch_logits is not None, "the harness gives this method additive fusion heads only"
        return self._factors

    def _set_factors(self) -> None:
        """Put the product of each modality's constant and quotient on the device, once per epoch."""
        constants = factors_of(self.rates)
        values = [constants.get(m, 1.0) * self._quotients.get(m, 1.0) for m in self.fit.model.modalities]
        like = next(self.fit.model.parameters())
        self._factors = torch.tensor(values, dtype=like.dtype, device=like.device)

    def state_dict(self) -> State:
        return {"memory": self._memory, "quotients": self._quotients}

    def load_state_dict(self, state: State) -> None:
        self._memory, self._quotients = dict(state["memory"]), dict(state["quotients"])
        self._set_factors()
