"""RollingQ: the class token's query is turned to a place between the keys of two modalities, so that it sees both."""

from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit import Batch, Evaluation, MultimodalModel, Outputs
from mcr_bench.bench.models.fusions.class_token import ClassToken
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Defect, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.attention.one_head import OneHead
from mcr_bench.methods.terms.attention.rotation import Turn, anchor, imbalance, rotation_between, seen_by
from mcr_bench.methods.terms.features.passes import over_training
from mcr_bench.methods.terms.losses import having_each
from mcr_bench.methods.terms.variants import WithVariants

CHUNK = 4  # training batches' worth of samples that are encoded at a time


@dataclass
class RollingQ(WithVariants):
    """Minimise CE(z, y) with a class-token head whose query is R q; the rotation R is the identity at first.

    After an epoch, AIR = mean_i (cos(R q, k_1,i) - cos(R q, k_2,i)) over the samples of its steps, where k_m,i is the
    mean key of modality m's tokens. If |AIR| > beta, and R has been turned fewer than `times` times, R becomes R' R. R'
    takes the mean query of the training samples to the anchor alpha K_1 / |K_1| + (1 - alpha) K_2 / |K_2|, with their
    mean keys K_m and alpha = (1 + tanh(-sigma AIR)) / 2; both are those of an evaluation pass. R is not learned.
    """

    beta: float = setting(
        0.0, "how large |AIR| must be", origin="RollingQ code", at_least=0, at_most=2, space=Space(0, 0.5)
    )
    sigma: float = setting(
        0.0,
        "how far the anchor moves to the modality that is seen less; 0 = half-way between both",
        origin="RollingQ code",
        at_least=0,
        space=Space(0, 10),
    )
    times: int = setting(1, "how often the query is turned at most; 0 = never", origin="RollingQ code", at_least=0)
    name = "rollingq"
    title = "RollingQ"
    group = "head-specific"
    reference = Reference(
        "RollingQ: Reviving the Cooperation Dynamics in Multimodal Transformer", "ICML 2025", "2506.11465"
    )
    official_code = OfficialCode("github.com/GeWu-Lab/QueRo_ICML2025", "23f1162")
    defects = (
        Defect(
            "train_func.py, train_attn: AIR",
            "AIR is that of the last batch of the epoch alone.",
            "AIR is a mean over the training samples.",
        ),
    )
    published = "official"
    needs = OneHead(
        at_least=2,
        at_most=2,
        head="class-token",
        why="turns the query of a class token over all tokens",
    )
    neutral = (
        Neutral({"times": 0}, "joint"),
        Neutral({"beta": 2.0}, "joint"),
    )
    deviations = (
        "R' turns the plane of query and anchor and leaves the rest. Official code: the rest is turned as well, in the "
        "way that a singular value decomposition of a matrix of rank one happens to give.",
        "The query is turned after the epoch's validation. Official code: before it.",
        "Means are over samples. Official code: over batches, of which the last is smaller.",
        "The learning rate follows the schedule of the run. Official code: the schedule advances once for each batch "
        "and once more for each epoch.",
        "Samples that lack a modality do not count. The official data has none.",
        "The validation part selects the epoch. Official code: the test part.",
    )
    _air: tuple[Tensor, Tensor] | None = field(default=None, init=False, repr=False)  # sum and count, of this epoch

    def build(self, model: MultimodalModel) -> None:
        if not isinstance(model.fusion, ClassToken):
            raise UserError(f"rollingq {self.needs.unmet_by_head('', additive=False)}.")
        model.fusion.turn = Turn(model.width)

    @property
    def head(self) -> ClassToken:
        """The fusion head."""
        return cast(ClassToken, self.fit.model.fusion)

    @property
    def turn(self) -> Turn:
        """What turns the query."""
        return cast(Turn, self.head.turn)

    def on_epoch_start(self) -> None:
        self._air = None

    def forward(self, batch: Batch) -> Outputs:
        model = self.fit.model
        features = model.encode(batch.inputs)
        if batch.dropped:
            features = model.drop(features, batch.dropped, present=batch.inputs.present)
        looked = self.head.looked(features)
        self._add(imbalance(*seen_by(self.head, looked)), having_each(batch.having, *self.head.names))
        return Outputs(model, features, self.head.answer(looked), None)

    @torch.no_grad()
    def _add(self, air: Tensor, having: Tensor | None) -> None:
        """Add the imbalance (B,) of a batch to that of the epoch, for the samples that have both modalities."""
        kept = torch.ones_like(air) if having is None else having.to(air)
        total, count = (air * kept).sum(), kept.sum()
        self.fit.log("attention_imbalance", total / count.clamp(min=1))
        if self._air is not None and not self.official:
            total, count = total + self._air[0], count + self._air[1]
        self._air = total, count

    def on_epoch_end(self, validation: Evaluation) -> None:
        if self._air is None or self.turn.times >= self.times:
            return
        total, count = self._air
        air = total / count.clamp(min=1)
        if air.abs() > self.beta:
            query, first, second = self._means()
            self.turn.further(rotation_between(query, anchor(first, second, air.to(query), self.sigma)))

    def _seen(self, batch: Batch) -> Tensor:
        """The query and the mean keys (3, B, d) of a batch."""
        return torch.stack(seen_by(self.head, self.head.looked(self.fit.model.encode(batch.inputs))))

    def _means(self) -> tuple[Tensor, Tensor, Tensor]:
        """The mean query and the mean keys (d,) of both modalities, over the training samples that have them."""
        fit = self.fit
        order, size = torch.arange(len(fit.train)), CHUNK * fit.settings.batch_size
        seen = torch.cat(over_training(fit, order, size, self._seen), 1)  # (3, N, d)
        kept = torch.ones_like(seen[..., :1])
        for place, m in enumerate(self.head.names, start=1):
            kept[place, :, 0] = fit.train.presence(m).to(kept)
        query, first, second = (seen * kept).sum(1) / kept.sum(1).clamp(min=1)
        return query, first, second
