"""MSES: each encoder stops early on its own, with the weights of the epoch that was best for its modality."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from mcr_bench.bench.fit import Batch, Evaluation, MultimodalModel, Outputs, State
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Method, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.losses import multi_loss

Kept = Mapping[str, Tensor]


def smoothed(previous: float | None, present: float, share: float) -> float:
    """(1 - share) of the previous loss and `share` of the present one; the present one where there is no other.

    >>> smoothed(1.0, 2.0, share=0.4), smoothed(None, 2.0, share=0.4)
    (1.4, 2.0)
    """
    return present if previous is None else (1 - share) * previous + share * present


@dataclass
class Course:
    """How a modality's loss on the validation part went.

    last: the loss of the last epoch; None before the first.
    best: the lowest smoothed loss so far.
    epoch: the epoch that had it.
    stopped: whether encoder and own head have stopped.
    kept: their tensors in that epoch, by name; empty once they have stopped.
    """

    last: float | None = None
    best: float = float("inf")
    epoch: int = 0
    stopped: bool = False
    kept: Kept = field(default_factory=dict)


@dataclass
class Mses(Method):
    """Minimise CE(z, y) + sum_m CE(h_m, y); encoder m and its own head stop when the loss of h_m no longer falls.

    After each epoch l_m is the mean CE(h_m, y) of the validation part, and its smoothed value .6 l_m(t - 1) + .4 l_m(t)
    of the raw losses of two epochs. If that has had no new minimum for more than `patience` of the run's epochs,
    encoder m and its head go back to the weights of the epoch of the minimum and learn no more; the encoder then is in
    evaluation mode. The others and the fusion head go on.
    """

    patience: float = setting(
        0.15,
        "share of the run's epochs that an encoder goes on without a lower loss; 1 = to the end",
        at_least=0,
        at_most=1,
        space=Space(0.05, 0.5),
    )
    share: float = setting(
        0.4, "share of the present epoch's loss in the smoothed one", origin="AGM code", at_least=0.01, at_most=1
    )
    name = "mses"
    title = "MSES"
    group = "modulation"
    reference = Reference("Modality-Specific Learning Rate Control for Multimodal Classification", "ACPR 2019")
    official_code = OfficialCode(state="read in someone else's code only")
    needs = Needs(own_heads=True, at_least=2)
    neutral = (Neutral({"patience": 1.0}, "multi-loss"),)
    deviations = (
        "The rule is that of the AGM code; of the paper only the abstract could be read.",
        "Patience is a share of the run's epochs, our choice. AGM code: 80 epochs, in runs that are hardly longer.",
        "Where the run's own `patience` is shorter than that, training can end before any encoder has stopped.",
        "Own heads are trained and judged, as the abstract says. AGM code: shares of a sum, by the fused loss.",
        "Only the modality that stops goes back to its best epoch. AGM code: the whole model and the optimiser.",
        "What has stopped gets no gradient. AGM code: one of 0, which momentum and weight decay still follow.",
        "The validation part judges. AGM code: the test part.",
        "If all encoders have stopped, the fusion head goes on alone until the run ends. AGM code: the run ends.",
        "Scores and several labels are an extension.",
    )
    _courses: dict[str, Course] = field(default_factory=dict, init=False, repr=False)

    def on_fit_start(self) -> None:
        self._courses = {m: Course() for m in self.fit.model.modalities}

    def on_epoch_start(self) -> None:
        for m, course in self._courses.items():
            self.fit.log(f"coefficient/{m}", float(not course.stopped))

    def forward(self, batch: Batch) -> Outputs:
        for m, course in self._courses.items():
            if course.stopped and self.fit.model.encoders[m].training:
                self.fit.model.encoders[m].eval()
        return super().forward(batch)

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        return multi_loss(self.fit.task, outputs, batch.target, having=batch.having, own=batch.own)

    def on_epoch_end(self, validation: Evaluation) -> None:
        for m, course in self._courses.items():
            present = self._loss_of(m, validation)
            if course.stopped or present is None:
                continue
            value, course.last = smoothed(course.last, present, self.share), present
            if value < course.best:
                course.best, course.epoch, course.kept = value, self.fit.epoch, _copied(self.fit.model, m)
            elif self.fit.epoch - course.epoch > self.patience * self.fit.settings.epochs:
                self._stop(m, course)

    def _loss_of(self, modality: str, validation: Evaluation) -> float | None:
        """The loss of a modality's own head on the validation samples that have it; None if it is not known."""
        val, task, logits = self.fit.val, self.fit.task, validation.modality_logits.get(modality)
        target = val.having(modality, val.target_of(modality))
        if logits is None or not len(target):
            return None
        rows = task.learned(val.having(modality, logits)).double()
        return float(task.loss(rows, target.double() if target.is_floating_point() else target))

    def _stop(self, modality: str, course: Course) -> None:
        for name, x in _named(self.fit.model, modality).items():
            x.data.copy_(course.kept.get(name, x))
        course.stopped, course.kept = True, {}
        self._freeze(modality)

    def _freeze(self, modality: str) -> None:
        for p in self.fit.model.parameters_of(modality, "encoder", "own_head"):
            p.requires_grad_(False)

    def state_dict(self) -> State:
        return {m: {**vars(course), "kept": dict(course.kept)} for m, course in self._courses.items()}

    def load_state_dict(self, state: State) -> None:
        self._courses = {m: Course(**values) for m, values in state.items()}
        for m, course in self._courses.items():
            if course.stopped:
                self._freeze(m)


def _named(model: MultimodalModel, modality: str) -> dict[str, Tensor]:
    """Parameters and buffers of a modality's encoder and own head, by name."""
    rooms = (f"encoders.{modality}.", f"own_heads.{modality}.")
    return {name: x for name, x in model.state_dict().items() if name.startswith(rooms)}


def _copied(model: MultimodalModel, modality: str) -> Kept:
    return {name: x.detach().clone() for name, x in _named(model, modality).items()}
