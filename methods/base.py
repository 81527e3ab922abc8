"""The contract of a method: declared facts, and hooks whose defaults are plain joint training."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, ClassVar, Literal

from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.evaluated import Evaluation
from mcr_bench.bench.fit.returns import Groups, State, checked_losses, checked_outputs
from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel, Outputs
from mcr_bench.bench.problem.epoch_batches import EpochBatches as EpochBatches
from mcr_bench.bench.settings.declaration import Value
from mcr_bench.bench.task import Task
from mcr_bench.datasets.base import Batch, Facts

if TYPE_CHECKING:
    from mcr_bench.bench.fit.fit import Fit


PLACEHOLDER = "to be replaced"  # begins a fact in a new file that its author has not declared yet
Group = Literal[
    "baseline", "modulation", "multi-objective", "architecture", "data", "distillation", "head-specific", "own"
]


@dataclass(frozen=True)
class Reference:
    """The publication that a method comes from.

    title: its title, or a description of a baseline.
    venue: where it was published, such as "CVPR 2022".
    arxiv: its number on arXiv, such as "2203.15332", or empty.
    """

    title: str
    venue: str
    arxiv: str = ""


@dataclass(frozen=True)
class OfficialCode:
    """The code that the authors of a method have released.

    address: where it is, such as "github.com/GeWu-Lab/OGM-GE_CVPR2022"; empty if none is released.
    commit: the commit that was read, or empty.
    state: what there is of it, such as "complete", "announced, nothing released", "read in someone else's code only".
    """

    address: str = ""
    commit: str = ""
    state: str = "complete"


@dataclass(frozen=True)
class Defect:
    """A place where the official code departs from its paper; `variant=official` does what the code does.

    place: file and line in the official repository.
    code: what the code does, one sentence.
    paper: what the paper says instead, one sentence.
    """

    place: str
    code: str
    paper: str


@dataclass(frozen=True)
class Needs:
    """What a method needs of model and data. Where a need is not met, the method is skipped with the reason.

    own_heads: the method trains a head of its own for each modality; otherwise probe heads give per-modality results.
    additive_fusion: the fused logits must be a sum of one share per modality.
    classification: the data must have classes, one for each sample.
    at_least: the smallest number of modalities.
    at_most: the largest number of modalities.
    own_features: it gives the fusion head features of its own making, so a head that also reads the encoders' tokens or
    stages cannot serve.
    """

    own_heads: bool = False
    additive_fusion: bool = False
    classification: bool = False
    at_least: int = 1
    at_most: int = 99
    own_features: bool = False

    def unmet(self, modalities: int, task: Task) -> str | None:
        """The first need that this number of modalities and this task do not meet; None if they meet all.

        >>> Needs(at_least=2).unmet(1, Task(3))
        'needs at least 2 modalities, not 1'
        """
        if modalities < self.at_least:
            return f"needs at least {self.at_least} modalities, not {modalities}"
        if modalities > self.at_most:
            return f"takes at most {self.at_most} modalities, not {modalities}"
        if self.classification and task.classes is None:
            return f"is defined for classification only{', not for several labels' if task.multi_label else ''}"
        return None

    def unmet_by_head(self, head: str, additive: bool, reads: Iterable[str] = ()) -> str | None:
        """Why a fusion head cannot serve the method; None if it can.

        head: its name. additive: whether its logits are a sum of one branch per modality. reads: what of "tokens" and
        "stages" it reads beside the features.

        >>> Needs(additive_fusion=True).unmet_by_head("gated", additive=False)
        'needs an additive fusion head (model.fusion=late-linear)'
        """
        if self.additive_fusion and not additive:
            return "needs an additive fusion head (model.fusion=late-linear)"
        if self.own_features and (parts := " and ".join(sorted(reads))):
            return f"gives the fusion head features of its own making, but {head} reads the encoders' {parts}"
        return None


@dataclass(frozen=True)
class Neutral:
    """Settings under which the method trains exactly as a simpler one does; a test checks it.

    The two are compared with `clip_norm=0`: a gradient that is zero in one method and missing in the other changes the
    order of summation of the norm, and with it the last digits.

    settings: values by key.
    equals: the name of the simpler method.
    tolerance: the largest difference of a weight, in float64, that the test accepts; 0 means equal bit for bit.
    reason: why they are not equal bit for bit, where `tolerance` is not 0.
    """

    settings: Mapping[str, Value]
    equals: str
    tolerance: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Delay:
    """A part of a method's rule that does not act from the first epoch on, and the setting that says since when.

    setting: its name; with 0 there is no such part. "": none says it, and the part acts from `least` on.
    counts: what it holds; first: the first epoch in which the part acts; before: the epochs before that one; share: the
        share of the run's epochs before it; last: the share of the run's epochs, at its end, in which the part acts.
    more: epochs that are added to it.
    where: another setting, and the value of it under which the method has the part; None for all.
    least: the earliest epoch in which the part can act.
    """

    setting: str = ""
    counts: Literal["first", "before", "share", "last"] = "first"
    more: int = 0
    where: tuple[str, Value] | None = None
    least: int = 1

    def first(self, value: float, epochs: int) -> int:
        """The first epoch, from 1, in which the part acts. value: of the setting; epochs: those of the run.

        >>> Delay("start", "first").first(6, epochs=50), Delay("share", "share").first(0.5, epochs=50)
        (6, 26)
        """
        if not value:
            return 1
        whole = round(value * epochs) if self.counts in ("share", "last") else int(value)
        begins = {"first": whole, "before": whole + 1, "share": whole + 1, "last": epochs - whole + 1}
        return max(self.least, begins[self.counts] + self.more)


START = (Delay("start", "first"),)


@dataclass(frozen=True)
class Requirement:
    """A run that another one starts from; it has the same dataset, protocol, fold and seed.

    method: the name of its method.
    modalities: the modalities that it trains.
    """

    method: str
    modalities: tuple[str, ...]


@dataclass
class Method:
    """Joint training, and the base class of every method.

    A method is a subclass in a file of its own, decorated with `@dataclass`, whose fields are made with `setting(...)`.
    It overrides the hooks in which it differs from joint training. `self.fit` holds model, task, data, optimiser,
    random streams and logging; it is available from `on_fit_start` on. A value that must survive an interruption goes
    through `state_dict` and `load_state_dict`.

    In a regression, outputs and `batch.target` are in the unit that is learned (`fit.task.unit`); `batch.labels` and
    what an `Evaluation` holds are in the user's unit.

    name: the method's name on the command line and in tables.
    title: what the table of a paper calls it, such as "OGM-GE"; empty for its name.
    role: whether it is a reference, the unimodal training, an ensemble, or a method.
    group: the kind of method, which also selects it on the command line (`--methods modulation`).
    selections: more words that select it, such as "table1": the methods of Table 1 of the MCR paper.
    reference: the publication that it comes from.
    official_code: what its authors have released; None for baselines and methods without any.
    defects: where that code departs from the paper. A method with defects has the setting `variant`.
    published: the variant that the published numbers come from; empty if there are no defects, or if it is not known.
    needs: what it needs of model and data.
    neutral: settings under which it equals a simpler method.
    without_neutral: why there are none, where `neutral` is empty.
    predicts_otherwise: why `predict` gives other logits than `forward`, whose logits are trained; empty where it gives
        the same.
    waits: why its steps make the host wait for a GPU; empty where they do not.
    deviations: in what it differs from the official code, one sentence each.
    delays: the parts of its rule that do not act from the first epoch on; tables name runs that were tested before. By
        default a setting `start`, if its type is int, is the first epoch in which the method acts.
    trains: whether it trains at all; an ensemble does not.
    scales_gradients: whether it scales gradients, which Adam largely cancels; tables then carry a warning.
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""
    role: ClassVar[Literal["reference", "unimodal", "ensemble", "method"]] = "method"
    group: ClassVar[Group] = "own"
    selections: ClassVar[tuple[str, ...]] = ()
    reference: ClassVar[Reference]
    official_code: ClassVar[OfficialCode | None] = None
    defects: ClassVar[tuple[Defect, ...]] = ()
    published: ClassVar[Literal["", "paper", "official"]] = ""
    needs: ClassVar[Needs] = Needs()
    neutral: ClassVar[tuple[Neutral, ...]] = ()
    without_neutral: ClassVar[str] = ""
    predicts_otherwise: ClassVar[str] = ""
    waits: ClassVar[str] = ""
    deviations: ClassVar[tuple[str, ...]] = ()
    delays: ClassVar[tuple[Delay, ...]] = START
    trains: ClassVar[bool] = True
    scales_gradients: ClassVar[bool] = False
    if TYPE_CHECKING:  # the training loop sets it before any hook runs; it is not a setting, so not a field
        fit: Fit = field(init=False)

    @classmethod
    def variants(cls, modalities: tuple[str, ...]) -> list[tuple[str, ...]]:
        """The sets of modalities to train when this method is run on `modalities`, with one run for each set."""
        return [modalities]

    def skip(self, facts: Facts) -> str | None:
        """The reason why the method cannot run on this data, or None if it can; `needs` is checked before."""
        return None

    def requires(self, modalities: tuple[str, ...]) -> list[Requirement]:
        """The runs whose best weights this one starts from; `self.fit.dependencies` has them in this order."""
        return []

    def build(self, model: MultimodalModel) -> None:
        """Change the model in place before its weights are drawn.

        New modules go into `model.extras`; each must have `reset_parameters`, which draws its initial weights.
        """

    def parameter_groups(self, model: MultimodalModel) -> Groups:
        """The optimiser's parameter groups; a group may set any option of the optimiser, such as its own `lr`."""
        return [{"params": [p for p in model.parameters() if p.requires_grad]}]

    def on_fit_start(self) -> None:
        """Called after the weights are drawn and before the optimiser is made.

        A resumed run calls it too, before the checkpoint is read.
        """

    def on_epoch_start(self) -> None:
        """Called before the first step of an epoch, `self.fit.epoch` (from 1); the model is in training mode."""

    def on_epoch_end(self, validation: Evaluation) -> None:
        """Called after an epoch and its validation."""

    def epoch_batches(self, epoch: int) -> EpochBatches | None:
        """The samples of this epoch in the order of training, with repetitions, and where a modality is dropped.

        Called before the first step, after `on_epoch_start`. None is the order that seed and epoch give for all
        methods, `self.fit.order()`. Draws come from `self.fit.generator(...)`.
        """
        return None

    def grow(self, name: str) -> nn.Module:
        """The new module that `self.fit.grow(name)` adds to the model while it is trained.

        Its parts must have `reset_parameters`, which draws their initial weights. What it looks like may depend on the
        name, the settings and the model alone, as a resumed run calls it before `load_state_dict`.
        """
        raise UserError(
            f"{self.name}: '{name}' cannot grow. Write the hook grow(self, name), which returns the new module."
        )

    def forward(self, batch: Batch) -> Outputs:
        """The model's outputs for a batch of B samples: logits (B, C), and each modality's features (B, d).

        Hand on `batch.dropped`, or to `self.fit.model.drop` where the features are fused here.
        """
        outputs: Outputs = self.fit.model(batch.inputs, dropped=batch.dropped)
        return outputs

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """The terms of the loss, name -> tensor (). Their sum is minimised, and each is logged as `loss/NAME`."""
        return {"fused": self.fit.task.loss(outputs.logits, batch.target)}

    def backward(self, losses: dict[str, Tensor]) -> None:
        """Compute the gradients of the sum of the terms, each a tensor ()."""
        reduce(add, losses.values()).backward()

    def after_backward(self, outputs: Outputs, batch: Batch) -> None:
        """Change gradients here, before they are clipped; a method that scales them calls `self.fit.scale`."""

    def train_step(self, batch: Batch) -> None:
        """Make one training step. Override it only if the step itself differs from forward, loss, backward, update."""
        with self.fit.autocast():
            outputs = checked_outputs(self, "forward", self.forward(batch), len(batch.target), self.fit.task.outputs)
            losses = checked_losses(self, self.loss(outputs, batch))
        self.fit.zero_grad()
        self.backward(losses)
        self.after_backward(outputs, batch)
        self.fit.update(losses)

    def own_weight(self) -> float:
        """The weight of each own head's loss in training; an evaluation's `total_loss` uses it."""
        return float(self.needs.own_heads)

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        """Outputs whose `logits` (B, C) are the method's prediction for B samples; called in evaluation mode.

        It is called for every subset of the modalities too, with the mean training input in place of an absent one;
        then `model` does not run an encoder again that has had the same inputs.
        """
        outputs: Outputs = model(inputs)
        return outputs

    def state_dict(self) -> State:
        """Tensors and plain values, by name, that a resumed run needs."""
        return {}

    def load_state_dict(self, state: State) -> None:
        """Take over what `state_dict` returned before the interruption."""
