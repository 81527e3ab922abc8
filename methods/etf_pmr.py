"""ETF-PMR: features of every modality are drawn to prototypes that are fixed, the vertices of one simplex."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.evaluated import Evaluation
from mcr_bench.bench.fit.returns import State
from mcr_bench.bench.models.multimodal import MultimodalModel, Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Group, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.features.passes import training_features
from mcr_bench.methods.terms.features.prototypes import nearness
from mcr_bench.methods.terms.features.simplex import placed, simplex_vertices
from mcr_bench.methods.terms.losses import ALL, loss_mean, loss_of
from mcr_bench.methods.terms.modulation import Windowed
from mcr_bench.methods.terms.scores import mean_of_others, true_scores


def shares(scores: Tensor, strong: float, having: Mapping[str, Tensor] = ALL) -> Tensor:
    """The share of the term that each modality gets, (M,): 1 where s_m < mean_{j != m} s_j, otherwise `strong`.

    scores: s (M,). having: see `mean_of_others`.

    >>> shares(torch.tensor([0.5, 0.4, 0.6]), strong=0.1)
    tensor([0.1000, 1.0000, 0.1000])
    """
    return torch.where(scores < mean_of_others(scores, having), 1.0, torch.full_like(scores, strong))


@dataclass
class EtfPmr(Windowed):
    """Minimise L = CE(z, y) + alpha sum_m c_m CE(D_m, y), where D_m[i, c] = -||f_{m,i} - v_c||.

    The prototypes v_c = o + r e_c are the same for all modalities and have no gradient: e_c are the vertices of a
    simplex equiangular tight frame (length 1, cosine -1 / (C - 1)), drawn before training; o is the centre of all
    training features before epoch `start`, and r their mean distance from it. c_m = 1 if s_m < mean_{j != m} s_j,
    otherwise `strong`, where s_m = mean_i softmax(D_m)_{i, y_i}. form=distance: mean_i ||f_{m,i} - v_{y_i}||^2 in
    place of CE(D_m, y).
    """

    alpha: float = setting(
        1.0, "weight of the prototypes' loss", origin="ETF-PMR code", at_least=0, space=Space(0.1, 5, log=True)
    )
    strong: float = setting(
        0.1,
        "share of it for a modality that is not behind",
        origin="ETF-PMR code",
        at_least=0,
        at_most=1,
        space=Space(0, 1),
    )
    form: Literal["cross-entropy", "distance"] = setting(
        "cross-entropy",
        "the prototypes' loss; cross-entropy: over distances; distance: the squared distance from the right one",
        origin="ETF-PMR code",
    )
    start: int = setting(
        2,
        "first epoch in which the term acts; before it, prototypes are placed among the features",
        origin="ETF-PMR code",
        at_least=1,
    )
    name: ClassVar[str] = "etf-pmr"
    title: ClassVar[str] = "ETF-PMR"
    group: ClassVar[Group] = "modulation"
    reference: ClassVar[Reference] = Reference("Overcome Modal Bias by simplex ETF (ETF-PMR)", "official code, 2024")
    official_code: ClassVar[OfficialCode | None] = OfficialCode(
        "github.com/fanyunfeng-bit/ETF-PMR", "396485d", "main_ETF.py stops with an error in epoch 50"
    )
    needs: ClassVar[Needs] = Needs(classification=True, at_least=2)
    neutral: ClassVar[tuple[Neutral, ...]] = (Neutral({"alpha": 0.0}, "joint"),)
    deviations: ClassVar[tuple[str, ...]] = (
        "The paper could not be read: the rule is that of main_ETF.py, which has the fixed prototypes.",
        "Prototypes stay where they are placed. Official code: from epoch 50 on they follow the class means, where "
        "main_ETF.py stops with an error, and in main_ETF_matlab_init.py after every epoch from the fifth on.",
        "Scores are those of the same prototypes. Official code: from class means over half "
        "of the training batches, which are computed after every epoch; AVE and CG-MNIST: over validation or test.",
        "The term acts in all epochs from `start` on. Official code: to epoch 70 of 150, after which main_ETF.py "
        "has no backward pass any more and so trains nothing.",
        "The simplex needs C - 1 dimensions. Official code: C.",
        "Each of more than two modalities is compared with the mean of the others. Official code: two modalities.",
    )
    _vertices: Tensor = field(default_factory=lambda: torch.empty(0), init=False, repr=False)  # (C, d)
    _prototypes: Tensor | None = field(default=None, init=False, repr=False)  # (C, d)

    def build(self, model: MultimodalModel) -> None:
        classes = model.task.outputs
        if model.width < classes - 1:
            raise UserError(
                f"{self.name} needs features of {classes - 1} dimensions for {classes} classes, but "
                f"model.width={model.width}. Set model.width={classes - 1} or more."
            )

    def on_fit_start(self) -> None:
        model = self.fit.model
        self._vertices = simplex_vertices(model.task.outputs, model.width, self.fit.generator("vertices"))
        if self.start == 1:
            self._place()

    def on_epoch_end(self, validation: Evaluation) -> None:
        if self.fit.epoch == self.start - 1:
            self._place()

    def _place(self) -> None:
        """Put the prototypes among the features that the training samples have now."""
        train = self.fit.train
        features = training_features(self.fit, torch.arange(len(train)), self.fit.settings.batch_size)
        having = torch.stack([train.presence(m) for m in features])
        rows = torch.stack(list(features.values()))
        self._prototypes = placed(self._vertices, rows, having.to(rows))

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        task, having = self.fit.task, batch.having
        losses = {"fused": task.loss(outputs.logits, batch.target)}
        if self._prototypes is None or not self.active:
            return losses
        near = {m: nearness(f, self._prototypes) for m, f in outputs.features.items()}
        weights = self.alpha * shares(true_scores(near, batch.target, task, having), self.strong, having)
        self.fit.log_each([f"coefficient/{m}" for m in near], weights)
        for (m, logits), weight in zip(near.items(), weights.unbind(), strict=True):
            losses[f"prototypes/{m}"] = weight * self._cost(logits, batch.target, having.get(m))
        return losses

    def _cost(self, near: Tensor, target: Tensor, having: Tensor | None) -> Tensor:
        """The prototypes' loss () of one modality; near: minus its distances (B, C)."""
        if self.form == "cross-entropy":
            return loss_of(self.fit.task, near, target, having)
        return loss_mean(near.gather(1, target[:, None])[:, 0].square(), having)

    def state_dict(self) -> State:
        return {} if self._prototypes is None else {"prototypes": self._prototypes}

    def load_state_dict(self, state: State) -> None:
        self._prototypes = state["prototypes"].to(self.fit.device) if state else None
