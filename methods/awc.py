"""AWC: for some epochs encoders are held near where the epoch began, the more firmly the more they contribute."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.fit import Batch, MultimodalModel, Outputs, State, Task
from mcr_bench.bench.problem.shapley import Subset, shapley_plan
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Delay, Method, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.comoments import Comoments, comoments, merged, pearson
from mcr_bench.methods.terms.gradients.fisher import inverse_rates, pull_back_stiffly, with_squares
from mcr_bench.methods.terms.gradients.proximal import copies
from mcr_bench.methods.terms.modes import evaluation_mode


def strong_ones(scores: Sequence[float]) -> list[bool]:
    """Which scores are in the upper of two clusters, by the exact 2-means of numbers; none where all are equal.

    >>> strong_ones([0.9, 0.1, 0.8])
    [True, False, True]
    """
    cuts = sorted(set(scores))[1:]
    if not cuts:
        return [False] * len(scores)
    best = min(cuts, key=lambda cut: sum(_spread([x for x in scores if (x < cut) == low]) for low in (True, False)))
    return [x >= best for x in scores]


def _spread(scores: Sequence[float]) -> float:
    mean = sum(scores) / len(scores)
    return sum((x - mean) ** 2 for x in scores)


def compared(task: Task, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """What is correlated: predictions (..., B, C) and targets (B, C) of logits (..., B, C).

    Of classes, and of labels, these are probabilities and 0 or 1; of scores the outputs and the scores.

    >>> compared(Task(2), torch.zeros(1, 2), torch.tensor([1]))
    (tensor([[0.5000, 0.5000]]), tensor([[0., 1.]]))
    """
    if task.classes is not None:
        return logits.softmax(-1), one_hot(target, task.classes).to(logits)
    return logits.sigmoid() if task.multi_label else logits, target.reshape(len(target), -1).to(logits)


@torch.no_grad()
def subset_logits(model: MultimodalModel, features: Mapping[str, Tensor], subsets: Sequence[Subset]) -> Tensor:
    """The fusion head's logits (S, B, C) for S subsets of the modalities, with zeros for the features of the others.

    features: modality -> (B, d). It is one pass of the head, in evaluation mode.
    """
    rows = {m: torch.cat([f.detach() if m in s else torch.zeros_like(f) for s in subsets]) for m, f in features.items()}
    with evaluation_mode(model.fusion):
        logits: Tensor = promoted(model.fusion(rows).logits).unflatten(0, (len(subsets), -1))
    return logits


@dataclass
class Awc(Method):
    """Minimise CE(z, y) + sum_m (a_m / 2) sum_i F_{m,i} (theta_{m,i} - theta_{m,i}(0))^2 in the first epochs.

    theta_m(0) are the weights of encoder m at the start of the epoch, and F_m the mean over the batches of the epoch
    before of the squares of the gradients of its loss. a_m is `strong` or `weak`: modalities are split in two by
    2-means of their Shapley values, whose profit of a subset is the sum over outputs of Pearson's correlation of
    predictions, with zeros for the features of all others, and targets, over the samples of the epoch before.
    """

    strong: float = setting(
        20000.0,
        "a of the modalities that contribute more; 0 = not held",
        origin="AWC paper",
        at_least=0,
        space=Space(100, 1e6, log=True),
    )
    weak: float = setting(
        10000.0,
        "a of the modalities that contribute less; 0 = not held",
        origin="AWC paper",
        at_least=0,
        space=Space(100, 1e6, log=True),
    )
    share: float = setting(
        0.4,
        "share of the run's epochs in which encoders are held; 0 = none",
        origin="AWC paper: 20 of 50 epochs",
        at_least=0,
        at_most=1,
        space=Space(0, 1),
    )
    name = "awc"
    title = "AWC"
    group = "modulation"
    reference = Reference(
        "Towards Balanced Multi-Modal Learning in 3D Human Pose Estimation", "CVPR 2026", "2501.05264"
    )
    official_code = OfficialCode("github.com/MICLAB-BUPT/AWC", state="announced, could not be reached")
    needs = Needs(own_features=True, at_least=2)
    neutral = (Neutral({"strong": 0.0, "weak": 0.0}, "joint"),)
    delays = (Delay(least=2),)
    deviations = (
        "Fisher information and Shapley values are those of the steps of the epoch before, which costs no pass of the "
        "encoders; so the first epoch is not held. Paper: computed at the start of each epoch.",
        "The stiffness a F of a weight is at most 1 / its learning rate, which takes it back to its start in one step "
        "of plain gradient descent: beyond twice that, gradient descent diverges.",
        "The window is a share of the run's epochs. Paper: the first 20 of 50 epochs.",
        "With five or more modalities the Shapley values come from the arcs of one random circular order, which is "
        "unbiased. Paper: all subsets, of four modalities.",
        "Of classes and of labels the profit is the correlation of probabilities with 0 or 1, an extension.",
        "A sample that lacks a modality has zeros for its features in every subset, an extension.",
    )
    _squares: dict[str, list[Tensor]] = field(default_factory=dict, init=False, repr=False)  # of this epoch, summed
    _moments: Comoments | None = field(default=None, init=False, repr=False)  # of this epoch's predictions
    _steps: int = field(default=0, init=False, repr=False)  # that are in the sums
    _held: dict[str, float] = field(default_factory=dict, init=False, repr=False)  # a_m; empty where nothing is held
    _fisher: dict[str, list[Tensor]] = field(default_factory=dict, init=False, repr=False)
    _start: dict[str, list[Tensor]] = field(default_factory=dict, init=False, repr=False)

    @property
    def last(self) -> int:
        """The last epoch in which encoders are held."""
        return max(2, round(self.share * self.fit.settings.epochs)) if self.share else 0  # never is the first one held

    @cached_property
    def encoders(self) -> dict[str, list[nn.Parameter]]:
        """Modality -> the parameters of its encoder that are trained."""
        model = self.fit.model
        return {m: [p for p in model.parameters_of(m, "encoder") if p.requires_grad] for m in model.modalities}

    @cached_property
    def plan(self) -> tuple[list[Subset], Tensor]:
        """The subsets, the empty one first, and the weights (M, S) that make Shapley values of their profits."""
        return shapley_plan(self.fit.model.modalities, self.fit.generator("subsets"))

    def on_fit_start(self) -> None:
        _ = self.plan  # drawn once for the run, also of a resumed one

    def on_epoch_start(self) -> None:
        self._held, self._fisher, self._start = {}, {}, {}
        if self._moments is not None and self.fit.epoch <= self.last:
            values = self._contributions(self._moments)
            strong = dict(zip(values, strong_ones(list(values.values())), strict=True))
            self._held = {m: self.strong if strong[m] else self.weak for m in values}
            self._fisher = {m: [x / self._steps for x in sums] for m, sums in self._squares.items()}
            self._start = {m: copies(parameters) for m, parameters in self.encoders.items()}
        self._squares, self._moments, self._steps = {}, None, 0

    def _contributions(self, moments: Comoments) -> dict[str, float]:
        """Modality -> its Shapley value, which is logged."""
        profits = pearson(moments).sum(1).double().cpu()
        values = self.plan[1][:, 1:] @ profits  # the empty subset has none
        contributions = dict(zip(self.fit.model.modalities, values.tolist(), strict=True))
        for m, value in contributions.items():
            self.fit.log(f"shapley/{m}", value)
        return contributions

    @torch.no_grad()
    def after_backward(self, outputs: Outputs, batch: Batch) -> None:
        if self.fit.epoch < self.last:  # the next epoch needs them
            self._add(outputs, batch)
        for m, a in self._held.items():
            parameters = self.encoders[m]
            limits = inverse_rates(self.fit.optimizer, parameters)
            pull_back_stiffly(parameters, self._start[m], self._fisher[m], a, limits)
            self.fit.log(f"coefficient/{m}", a)

    def _add(self, outputs: Outputs, batch: Batch) -> None:
        having = batch.having
        kept = {m: torch.where(having[m][:, None], f, 0.0) if m in having else f for m, f in outputs.features.items()}
        logits = subset_logits(outputs.model, kept, self.plan[0][1:])
        new = comoments(*compared(self.fit.task, logits, batch.target))
        self._moments = new if self._moments is None else merged(self._moments, new)
        self._squares = {m: with_squares(self._squares.get(m, ()), ps) for m, ps in self.encoders.items()}
        self._steps += 1

    def state_dict(self) -> State:
        tensors = {"squares": self._squares, "fisher": self._fisher, "start": self._start}
        kept: State = {name: {m: _cloned(own) for m, own in part.items()} for name, part in tensors.items()}
        return kept | {"moments": _cloned(self._moments or ()), "steps": self._steps, "held": {**self._held}}

    def load_state_dict(self, state: State) -> None:
        self._squares, self._fisher, self._start = (
            {m: _cloned(own) for m, own in state[name].items()} for name in ("squares", "fisher", "start")
        )
        self._moments = Comoments(*_cloned(state["moments"])) if state["moments"] else None
        self._steps, self._held = state["steps"], {**state["held"]}


def _cloned(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [x.clone() for x in tensors]
