"""ETF-PMR: features of every modality are drawn to prototypes that are fixed, the vertices of one simplex."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from mcr_bench.bench.fit import Evaluation, MultimodalModel
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.features.passes import training_features
from mcr_bench.methods.terms.features.prototype_loss import PrototypeLoss, shares
from mcr_bench.methods.terms.features.simplex import placed, require_width, simplex_vertices
from mcr_bench.methods.terms.losses import loss_mean


@dataclass
class EtfPmr(PrototypeLoss):
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
        0.1, "share of it where not behind the others", origin="ETF-PMR code", at_least=0, at_most=1, space=Space(0, 1)
    )
    form: Literal["cross-entropy", "distance"] = setting(
        "cross-entropy",
        "the prototypes' loss; cross-entropy: over distances; distance: the squared distance from the right one",
        origin="ETF-PMR code",
    )
    start: int = setting(
        2, "first epoch of the term; prototypes are placed among features before it", origin="ETF-PMR code", at_least=1
    )
    name = "etf-pmr"
    title = "ETF-PMR"
    group = "modulation"
    reference = Reference("Overcome Modal Bias by simplex ETF (ETF-PMR)", "official code, 2024")
    official_code = OfficialCode("github.com/fanyunfeng-bit/ETF-PMR", "396485d", "main_ETF.py stops in epoch 50")
    needs = Needs(classification=True, at_least=2)
    neutral = (Neutral({"alpha": 0.0}, "joint"),)
    deviations = (
        "The paper could not be read: the rule is that of main_ETF.py, which has the fixed prototypes.",
        "Prototypes stay where they are placed. Official code: from epoch 50 on they follow the class means, where "
        "main_ETF.py stops with an error, and in main_ETF_matlab_init.py after every epoch from the fifth on.",
        "Scores are those of the same prototypes. Official code: from class means over half of the training batches, "
        "which are computed after every epoch; AVE and CG-MNIST: over validation or test.",
        "The term acts in all epochs from `start` on. Official code: to epoch 70 of 150, after which main_ETF.py "
        "has no backward pass any more and so trains nothing.",
        "The simplex needs C - 1 dimensions. Official code: C.",
        "Each of more than two modalities is compared with the mean of the others. Official code: two modalities.",
    )
    _vertices: Tensor = field(default_factory=lambda: torch.empty(0), init=False, repr=False)  # (C, d)

    def build(self, model: MultimodalModel) -> None:
        require_width(self.name, model.task.outputs, model.width)

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
        features = training_features(self.fit, torch.arange(len(self.fit.train)), self.fit.settings.batch_size)
        having = torch.stack([self.fit.train.presence(m) for m in features])
        rows = torch.stack(list(features.values()))
        self._prototypes = placed(self._vertices, rows, having.to(rows))

    def weights(self, scores: Tensor, having: Mapping[str, Tensor]) -> Tensor:
        return self.alpha * shares(scores, self.strong, having)

    def cost(self, near: Tensor, target: Tensor, having: Tensor | None) -> Tensor:
        if self.form == "cross-entropy":
            return super().cost(near, target, having)
        return loss_mean(near.gather(1, target[:, None])[:, 0].square(), having)
