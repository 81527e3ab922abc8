"""Diagnosing & Re-learning: encoders whose features separate classes better in training move back to their start."""

from dataclasses import dataclass, field

from torch import Tensor

from mcr_bench.bench.fit import Evaluation, State
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Delay, Method, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.features.clusters import separability, way_back
from mcr_bench.methods.terms.features.passes import some_of, training_features

MOST = 20_000  # samples of a part that are clustered; of more a draw is taken


@dataclass
class DiagnosingRelearning(Method):
    """Joint training that every few epochs moves encoders back: theta_m <- a_m theta_m(0) + (1 - a_m) theta_m.

    a_m = tanh(strength |P_m(train) - P_m(val)|), with the purity P_m of C clusters of the features f_m, which k-means
    finds after scaling each to [-1, 1]. theta_m are all parameters of encoder m, theta_m(0) their initial values.
    Statistics of batch norm, heads and the state of the optimiser stay.
    """

    strength: float = setting(
        3.0, "lambda, how far encoders move back", origin="D&R code", at_least=0, space=Space(0.3, 10, log=True)
    )
    every: int = setting(20, "number of epochs from one move back to the next", origin="D&R code", at_least=1)
    times: int = setting(3, "largest number of moves back", origin="D&R code", at_least=0)
    name = "diagnosing-relearning"
    title = "Diagnosing & Re-learning"
    group = "modulation"
    selections = ("table1",)
    reference = Reference("Diagnosing and Re-learning for Balanced Multimodal Learning", "ECCV 2024", "2407.09705")
    official_code = OfficialCode("github.com/GeWu-Lab/Diagnosing_Relearning_ECCV2024", "59b5787")
    needs = Needs(classification=True)
    neutral = (Neutral({"strength": 0.0, "every": 1}, "joint"), Neutral({"times": 0}, "joint"))
    delays = (Delay("every", "before"),)
    deviations = (
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

    def purities(self, validation: Evaluation) -> dict[str, tuple[Tensor, Tensor]]:
        """Modality -> the purity () in the training part and in the validation part, where both have it."""
        train, val, given = self.fit.train, self.fit.val, {}
        order = some_of(len(train), MOST, self.fit.generator("rows", "train"))
        index = order.to(train.target.device)
        for m, trained in training_features(self.fit, order, 4 * self.fit.settings.batch_size).items():
            has, known = train.presence(m)[index], val.having(m, validation.features[m])
            if has.any() and len(known):
                learned = self._purity(m, "train", trained[has], train.target[index][has])
                given[m] = learned, self._purity(m, "val", known, val.having(m, validation.target))
        return given

    def _purity(self, modality: str, part: str, features: Tensor, target: Tensor) -> Tensor:
        kept = some_of(len(features), MOST, self.fit.generator("rows", part, modality)).to(features.device)
        generator = self.fit.generator("kmeans", part, modality, device=features.device)
        return separability(features[kept], target[kept], self.fit.task.outputs, generator)

    def state_dict(self) -> State:
        return {"moved": {m: share.cpu() for m, share in self._moved.items()}}

    def load_state_dict(self, state: State) -> None:
        self._moved = dict(state["moved"])
