"""Diagnosing & Re-learning: encoders whose features separate classes better in training move back to their start."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from mcr_bench.bench.fit.evaluated import Evaluation
from mcr_bench.bench.fit.returns import State
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.bench.training.reader import reading
from mcr_bench.methods.base import Group, Method, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.features.clusters import between_minus_one_and_one, kmeans, purity
from mcr_bench.methods.terms.modes import evaluation_mode

MOST = 20_000  # samples of a part that are clustered; of more a draw is taken


def separability(features: Tensor, target: Tensor, classes: int, generator: torch.Generator) -> Tensor:
    """How well k-means finds the classes in features (N, d), scaled to [-1, 1]: the purity () of its C clusters.

    target: (N,) class indices. generator: draws the first centres.

    >>> features = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
    >>> separability(features, torch.tensor([0, 0, 1, 1]), 2, torch.Generator().manual_seed(0))
    tensor(1., dtype=torch.float64)
    """
    return purity(kmeans(between_minus_one_and_one(features), classes, generator), target)


def way_back(train: Tensor, val: Tensor, strength: float) -> Tensor:
    """The share a = tanh(strength |train - val|) of the way back to the initial weights, () each.

    >>> way_back(torch.tensor(0.9), torch.tensor(0.4), strength=2.0)
    tensor(0.7616)
    """
    return torch.tanh(strength * (train - val).abs())


@dataclass
class DiagnosingRelearning(Method):
    """Joint training that every few epochs moves encoders back: theta_m <- a_m theta_m(0) + (1 - a_m) theta_m.

    a_m = tanh(strength |P_m(train) - P_m(val)|), with the purity P_m of C clusters of the features f_m, which k-means
    finds after scaling each to [-1, 1]. theta_m are all parameters of encoder m, theta_m(0) their initial values.
    Statistics of batch norm, heads and the state of the optimiser stay.
    """

    strength: float = setting(
        3.0,
        "lambda, how far encoders move back; 0 = not at all",
        origin="official code",
        at_least=0,
        space=Space(0.3, 10, log=True),
    )
    every: int = setting(20, "number of epochs from one move back to the next", origin="official code", at_least=1)
    times: int = setting(3, "largest number of moves back", origin="official code", at_least=0)
    name: ClassVar[str] = "diagnosing-relearning"
    group: ClassVar[Group] = "modulation"
    selections: ClassVar[tuple[str, ...]] = ("table1",)
    reference: ClassVar[Reference] = Reference(
        "Diagnosing and Re-learning for Balanced Multimodal Learning", "ECCV 2024", "2407.09705"
    )
    official_code: ClassVar[OfficialCode | None] = OfficialCode("github.com/GeWu-Lab/Diagnosing_Relearning_ECCV2024")
    needs: ClassVar[Needs] = Needs(classification=True)
    neutral: ClassVar[tuple[Neutral, ...]] = (
        Neutral({"strength": 0.0, "every": 1}, "joint"),
        Neutral({"times": 0}, "joint"),
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "k-means is our own: k-means++ centres, 10 starts, draws from the run's stream. Official code: scikit-learn's.",
        "Encoders move back after 20, 40 and 60 epochs. Official code: one epoch later, as it counts epochs from 0.",
        "The validation part that gives P_m(val) also selects the epoch. Official code: the test part selects it.",
        f"Of a part with more than {MOST} samples, {MOST} are drawn for k-means. Official code: all.",
        "Samples that lack a modality do not count in its purity. The official data has none.",
    )
    _initial: dict[str, list[Tensor]] = field(default_factory=dict, init=False, repr=False)
    _moved: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)  # a_m, logged in the next epoch

    def on_fit_start(self) -> None:
        model = self.fit.model
        self._initial = {m: [p.detach().clone() for p in model.parameters_of(m, "encoder")] for m in model.modalities}

    def on_epoch_start(self) -> None:
        for m, share in self._moved.items():
            self.fit.log(f"coefficient/{m}", share)
        self._moved = {}

    def on_epoch_end(self, validation: Evaluation) -> None:
        if self.fit.epoch % self.every or self.fit.epoch > self.every * self.times:
            return
        for m, (train, val) in self.purities(validation).items():
            self._moved[m] = way_back(train, val, self.strength)
            for p, start in zip(self.fit.model.parameters_of(m, "encoder"), self._initial[m], strict=True):
                p.data.lerp_(start, self._moved[m].to(p))

    @torch.no_grad()
    def purities(self, validation: Evaluation) -> dict[str, tuple[Tensor, Tensor]]:
        """Modality -> the purity () in the training part and in the validation part, where both have it."""
        val, given = self.fit.val, {}
        target = validation.target
        features, index = self._train_features()
        for m, trained in features.items():
            has = self.fit.train.presence(m)[index]
            train = self._purity(m, "train", trained[has], self.fit.train.target[index][has])
            given[m] = train, self._purity(m, "val", val.having(m, validation.features[m]), val.having(m, target))
        return {m: (a, b) for m, (a, b) in given.items() if a is not None and b is not None}

    def _purity(self, modality: str, part: str, features: Tensor, target: Tensor) -> Tensor | None:
        if not len(features):
            return None
        kept = self._draw(len(features), part, modality).to(features.device)
        generator = self.fit.generator("kmeans", part, modality, device=features.device)
        assert self.fit.task.classes is not None, "the method needs classes"
        return separability(features[kept], target[kept], self.fit.task.classes, generator)

    def _draw(self, count: int, *names: str) -> Tensor:
        """Up to `MOST` of `count` indices (n,) int64, on the CPU."""
        if count <= MOST:
            return torch.arange(count)
        return torch.randperm(count, generator=self.fit.generator("rows", *names))[:MOST]

    def _train_features(self) -> tuple[dict[str, Tensor], Tensor]:
        """Modality -> features (n, d) of training samples as evaluation sees them, and the samples' indices (n,)."""
        fit, order = self.fit, self._draw(len(self.fit.train), "train")
        with evaluation_mode(fit.model), reading(fit.train, order, 4 * fit.settings.batch_size) as parts:
            rows = [fit.model.encode(fit.train.batch(index).inputs) for index in parts]
        joined = {m: torch.cat([row[m] for row in rows]) for m in fit.model.modalities}
        return joined, order.to(fit.train.target.device)

    def state_dict(self) -> State:
        return {"moved": {m: share.cpu() for m, share in self._moved.items()}}

    def load_state_dict(self, state: State) -> None:
        self._moved = dict(state["moved"])
