"""The contract of a method: declared facts and hooks. Every hook's default is plain joint training."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import Tensor

from mcr_bench.bench.fit.returns import checked_losses, checked_outputs
from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel, Outputs
from mcr_bench.datasets.base import Batch, Facts

if TYPE_CHECKING:
    from mcr_bench.bench.fit.evaluated import Evaluation
    from mcr_bench.bench.fit.fit import Fit


@dataclass(frozen=True)
class Reference:
    """Where a method comes from. arxiv: identifier or empty."""

    title: str
    venue: str
    arxiv: str = ""


@dataclass(frozen=True)
class Needs:
    """What a method needs of model and data; the harness skips it, with the reason, where a need is not met.

    own_heads: the method trains the own unimodal heads (otherwise reports come from probe heads trained apart).
    """

    own_heads: bool = False
    additive_fusion: bool = False
    classification: bool = False
    at_least: int = 1
    at_most: int = 99

    def unmet(self, modalities: int, regression: bool) -> str | None:
        """Which need so many modalities and this kind of target do not meet, in words; None where they meet all."""
        if modalities < self.at_least:
            return f"needs at least {self.at_least} modalities, not {modalities}"
        if modalities > self.at_most:
            return f"takes at most {self.at_most} modalities, not {modalities}"
        return "is defined for classification only" if self.classification and regression else None


@dataclass(frozen=True)
class Neutral:
    """Settings under which the method equals a simpler one. tolerance 0: bit for bit; else `reason` says why not.

    Clipping is off (`clip_norm=0`): gradients that are zero here and absent there regroup the sum of the norm.
    """

    settings: Mapping[str, Any]
    equals: str
    tolerance: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Requirement:
    """A run that another run depends on: same dataset, protocol, fold and seed."""

    method: str
    modalities: tuple[str, ...]


@dataclass
class Method:
    """Joint training, and the base of every method. A subclass is a dataclass of `setting(...)` fields, one per file.

    In a regression outputs and `batch.target` are in the unit that is learned (`fit.task.unit`), `batch.labels` and
    an `Evaluation` in the user's.

    Hooks may use `self.fit` (model, task, data, optimiser, random streams, logging), which is there from
    `on_fit_start` on. State that must survive a resume goes through `state_dict` and `load_state_dict`.
    """

    name: ClassVar[str]
    role: ClassVar[Literal["reference", "unimodal", "ensemble", "method"]] = "method"
    reference: ClassVar[Reference]
    needs: ClassVar[Needs] = Needs()
    neutral: ClassVar[tuple[Neutral, ...]] = ()
    deviations: ClassVar[tuple[str, ...]] = ()
    trains: ClassVar[bool] = True
    scales_gradients: ClassVar[bool] = False
    if TYPE_CHECKING:  # set by training before any hook runs; no setting, so no field
        fit: Fit = field(init=False)

    @classmethod
    def variants(cls, modalities: tuple[str, ...]) -> list[tuple[str, ...]]:
        """The sets of modalities that one request for this method trains, one run each."""
        return [modalities]

    def skip(self, facts: Facts) -> str | None:
        """A reason why the method cannot run on this data, beyond what `needs` says."""
        return None

    def requires(self, modalities: tuple[str, ...]) -> list[Requirement]:
        """Runs whose best weights this one starts from (`self.fit.dependencies`, in this order)."""
        return []

    def build(self, model: MultimodalModel) -> None:
        """Model surgery before weights are drawn; new modules need `reset_parameters`; extras go to `model.extras`."""

    def parameter_groups(self, model: MultimodalModel) -> list[dict[str, Any]]:
        """Optimiser groups; a group may set any optimiser option, e.g. its own `lr`."""
        return [{"params": [p for p in model.parameters() if p.requires_grad]}]

    def on_fit_start(self) -> None:
        """After weights are drawn, before the optimiser exists; not called again when a run is resumed mid-way."""

    def on_epoch_start(self) -> None:
        """The model is in training mode; `self.fit.epoch` counts from 1."""

    def on_epoch_end(self, validation: "Evaluation") -> None:
        """After validation."""

    def forward(self, batch: Batch) -> Outputs:
        outputs: Outputs = self.fit.model(batch.inputs)
        return outputs

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Named terms; their sum is descended on and each is logged."""
        return {"fused": self.fit.task.loss(outputs.logits, batch.target)}

    def backward(self, losses: dict[str, Tensor]) -> None:
        reduce(add, losses.values()).backward()

    def after_backward(self, outputs: Outputs, batch: Batch) -> None:
        """Gradients may be changed here; clipping comes after. A method that scales gradients uses `fit.scale`."""

    def train_step(self, batch: Batch) -> None:
        """One optimiser step; only methods that own the step override it."""
        with self.fit.autocast():
            outputs = checked_outputs(self, "forward", self.forward(batch), len(batch.target), self.fit.task.outputs)
            losses = checked_losses(self, self.loss(outputs, batch))
        self.fit.zero_grad()
        self.backward(losses)
        self.after_backward(outputs, batch)
        self.fit.update(losses)

    def own_weight(self) -> float:
        """Weight of each own head's loss beside the fused one in training; `total_loss` of an evaluation uses it."""
        return float(self.needs.own_heads)

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        """Outputs whose `logits` are the method's prediction."""
        outputs: Outputs = model(inputs)
        return outputs

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values that a resume needs; keyed by what they are."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
