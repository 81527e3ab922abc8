"""AUG: modalities take turns, and the weaker one gets more classifiers, each of which learns what the others miss."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit import Batch, Evaluation, Inputs, MultimodalModel, Outputs, State
from mcr_bench.bench.models.fusion import sum_of
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Defect, Needs, OfficialCode, Reference
from mcr_bench.methods.terms.boosting.alternating import Alternating
from mcr_bench.methods.terms.boosting.boosted import Boosted, added
from mcr_bench.methods.terms.losses import loss_mean, stacked

CHECKS = 10  # how often in a run the modalities are compared, beside the first time


def boosting_loss(old: Tensor, new: Tensor, target: Tensor, residual: float) -> Tensor:
    """The loss (B,) of a sum of classifiers: CE(old + new) + CE(old) + (1 - residual q_y) CE(new).

    old: logits (B, C) of all classifiers but the newest, together; q_y is the probability that they give the true
    class, without a gradient. new: logits (B, C) of the newest one. target: (B,) classes.

    >>> boosting_loss(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([0]), residual=0.5) / torch.tensor(2.0).log()
    tensor([2.7500])
    """
    losses = [-z.log_softmax(1).gather(1, target[:, None])[:, 0] for z in (old + new, old, new)]
    known = (-losses[1].detach()).exp()
    return losses[0] + losses[1] + (1 - residual * known) * losses[2]


def behind(scores: Mapping[str, float], tolerance: float) -> list[str]:
    """The modality with the lowest score, where the highest is more than (1 + tolerance) times that; several if equal.

    >>> behind({"audio": 0.6, "video": 0.5, "text": 0.7}, 0.01), behind({"audio": 0.5, "video": 0.504}, 0.01)
    (['video'], [])
    """
    lowest = min(scores.values())
    return [m for m, s in scores.items() if s == lowest and max(scores.values()) > (1 + tolerance) * lowest]


def is_checked(epoch: int, epochs: int) -> bool:
    """Whether modalities are compared after an epoch, from 1: after the first one, and ten times in a run.

    >>> [epoch for epoch in range(1, 31) if is_checked(epoch, 30)]
    [1, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30]
    """
    return epoch == 1 or epoch % max(1, epochs // CHECKS) == 0


@dataclass
class Aug(Alternating):
    """For each batch, one modality after the other minimises its loss in a step of its own; the weakest one grows.

    z_m = sum_k z_{m,k} is the sum of the modality's classifiers z_{m,k} = H(relu(V_{m,k} f_m + c_{m,k})), with one
    layer H for all. The loss is CE(z_m, y) while it has one classifier; with more it is, of n the newest and
    o = z_m - z_{m,n} the older ones,

        CE(z_m, y) + CE(o, y) + CE(z_{m,n}, y) - residual mean_i softmax(o)_{i,y_i} CE(z_{m,n}, y)_i.

    After the first epoch, and ten times in a run, the modality with the lowest mean of softmax(z_m)_{i,y_i} over the
    samples of the epoch gets one more classifier, if it is behind the best one by more than `tolerance`. The
    prediction is the mean z = mean_m z_m. It is not defined for a regression or for several labels, as softmax(o) is a
    distribution over classes.
    """

    residual: float = setting(
        0.5,
        "how much less a sample counts for the newest classifier where the older ones are certain of its class",
        origin="AUG code",
        at_least=0,
        at_most=1,
        space=Space(0, 1),
    )
    tolerance: float = setting(
        0.01,
        "how far the weakest modality may be behind the best one, as a share of its score",
        origin="AUG code",
        at_least=0,
        space=Space(0.001, 0.3, log=True),
    )
    first_weight: float = setting(
        0.5,
        "weight of the first of two modalities in a prediction (AUG code: .4 of audio); three and more have equal ones",
        at_least=0,
        at_most=1,
    )
    name = "aug"
    title = "AUG"
    group = "architecture"
    reference = Reference(
        "Rethinking Multimodal Learning from the Perspective of Mitigating Classification Ability Disproportion",
        "NeurIPS 2025",
        "2502.20120",
    )
    official_code = OfficialCode("github.com/njustkmg/NeurIPS25-AUG", "841d079")
    defects = (
        Defect(
            "train_CREMAD.py:201, 224, 228",
            "The optimiser is made before any classifier is added, and is never told of one: their layers V stay as "
            "they were drawn, and only the shared layer H and the encoder learn from them.",
            "The classifiers that are added are trained.",
        ),
    )
    published = "official"
    needs = Needs(additive_fusion=True, classification=True, at_least=2)
    without_neutral = (
        "Modalities take turns at a shared layer under all settings, so that none makes it a simpler method."
    )
    deviations = (
        "The order of the modalities is drawn from the seed. Official code: fixed, audio first (order=given).",
        "Modalities have equal weights in a prediction. Official code: .4 (audio) and .6 (video).",
        "A modality is behind where the best score is more than 1.01 times its own. Official code: where score_a / "
        "score_v is above 1.01 or below .99, which is not the same for both.",
        "The weakest of more than two modalities is compared with the best one, an extension.",
        "Optimiser and rate are those of the run. Official code: SGD at .01, momentum .9.",
        "A sample that lacks a modality has the mean of its other modalities' logits, an extension.",
        "The validation part selects the epoch. Official code: the test part.",
    )
    _sums: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)  # (2,): scores, samples; this epoch

    def build(self, model: MultimodalModel) -> None:
        if not model.fusion.additive:
            raise UserError(f"{self.name} needs an additive fusion head. Set model.fusion=late-linear.")
        model.fusion = Boosted(model.modalities, model.width, model.task.outputs)

    def grow(self, name: str) -> nn.Module:
        layer = _head(self.fit.model).embedding()
        return layer.requires_grad_(not self.official)

    def on_epoch_start(self) -> None:
        self._sums = {}
        for m in self.fit.model.modalities:
            self.fit.log(f"classifiers/{m}", 1.0 + len(list(added(self.fit.model, m))))

    def alone(self, model: MultimodalModel, modality: str, features: Tensor, batch: Batch) -> Tensor:
        scores = _scores(model, modality, features)
        if len(scores) == 1:
            losses = self.fit.task.per_sample(scores[0], batch.target)
        else:
            old = torch.stack(scores[:-1]).sum(0)
            losses = boosting_loss(old, scores[-1], batch.target, self.residual)
        return loss_mean(losses, batch.having.get(modality))

    @torch.no_grad()
    def after_turn(self, modality: str, features: Tensor, batch: Batch) -> None:
        z = torch.stack(_scores(self.fit.model, modality, features)).sum(0)
        right = self.fit.task.true_score(z, batch.target)
        having = batch.having.get(modality)
        if having is not None:
            right = torch.where(having, right, 0.0)
        count = right.new_full((), len(right)) if having is None else having.sum().to(right)
        new = torch.stack([right.sum(), count])
        self._sums[modality] = self._sums[modality] + new if modality in self._sums else new

    def on_epoch_end(self, validation: Evaluation) -> None:
        if not self._sums or not is_checked(self.fit.epoch, self.fit.settings.epochs):
            return
        sums = torch.stack(list(self._sums.values())).tolist()
        scores = {m: total / count for m, (total, count) in zip(self._sums, sums, strict=True) if count}
        for m in behind(scores, self.tolerance) if len(scores) > 1 else ():
            self._add(m)

    def _add(self, modality: str) -> None:
        """One more classifier, whose weights are drawn as the official code draws them (Xavier's normal numbers)."""
        number = 1 + len(list(added(self.fit.model, modality)))
        layer = self.fit.grow(f"{modality}_{number}")
        assert isinstance(layer, nn.Linear)
        drawn = torch.randn(layer.weight.shape, generator=self.fit.generator("classifier", modality))
        with torch.no_grad():
            layer.weight.copy_(drawn * (2 / sum(layer.weight.shape)) ** 0.5)
            layer.bias.zero_()

    def forward(self, batch: Batch) -> Outputs:
        return self._summed(super().forward(batch), batch.having)

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        return self._summed(super().predict(model, inputs), inputs.present)

    def _summed(self, outputs: Outputs, having: Mapping[str, Tensor]) -> Outputs:
        """The outputs with the weighted mean of the modalities' logits, of all their classifiers."""
        names = list(outputs.features)
        z = torch.stack([torch.stack(_scores(outputs.model, m, f)).sum(0) for m, f in outputs.features.items()])
        pair = (self.first_weight, 1 - self.first_weight)
        weights = z.new_tensor(pair if len(names) == 2 else [1.0] * len(names))[:, None]
        kept = stacked(names, having)
        if kept is not None:
            weights = weights * kept
        shares = weights / weights.sum(0).clamp(min=torch.finfo(z.dtype).tiny)
        branches = dict(zip(names, (shares[..., None] * z).unbind(), strict=True))
        return replace(outputs, logits=sum_of(branches), branch_logits=branches)

    def state_dict(self) -> State:
        return {m: sums.clone() for m, sums in self._sums.items()}

    def load_state_dict(self, state: State) -> None:
        self._sums = {m: sums.clone() for m, sums in state.items()}


def _head(model: MultimodalModel) -> Boosted:
    head = model.fusion
    assert isinstance(head, Boosted), "build() has put it there"
    return head


def _scores(model: MultimodalModel, modality: str, features: Tensor) -> list[Tensor]:
    """The logits (B, C) of every classifier of a modality, the oldest first."""
    head = _head(model)
    embeddings = [head.embeddings[modality], *added(model, modality)]
    return [head.scored(embedding, features) for embedding in embeddings]
