"""MLA: modalities take turns at one shared head, whose gradient is projected; the certain ones count more."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit import Batch, Inputs, MultimodalModel, Outputs, State
from mcr_bench.bench.models.fusion import sum_of
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Defect, Needs, OfficialCode, Reference
from mcr_bench.methods.terms.boosting.alternating import Alternating
from mcr_bench.methods.terms.boosting.certainty import certainty_weights, entropies
from mcr_bench.methods.terms.boosting.shared_linear import SharedLinear
from mcr_bench.methods.terms.losses import loss_of, stacked


def next_projection(projection: Tensor, direction: Tensor, alpha: float) -> Tensor:
    """The projection P (d, d) away from one more direction r (d,): P - k k^T / (alpha + r^T k), with k = P r.

    It is divided by its Frobenius norm.

    >>> next_projection(torch.eye(2), torch.tensor([1.0, 0.0]), alpha=0.0)
    tensor([[0., 0.],
            [0., 1.]])
    """
    k = projection @ direction
    along = direction @ k  # negative only by rounding, where nothing of the direction is left to take away
    changed = projection - torch.outer(k, k) / torch.where(along > 0, alpha + along, torch.inf)
    norm: Tensor = torch.linalg.matrix_norm(changed).clamp(min=torch.finfo(changed.dtype).tiny)
    return changed / norm


def mean_feature(features: Tensor, having: Tensor | None = None) -> Tensor:
    """The mean (d,) of features (B, d) over the samples at which `having` (B,) is set; 0 if there is none.

    >>> mean_feature(torch.tensor([[1.0, 3.0], [3.0, 3.0]]), torch.tensor([True, False]))
    tensor([1., 3.])
    """
    if having is None:
        return features.mean(0)
    return torch.where(having[:, None], features, 0.0).sum(0) / having.sum().clamp(min=1)


@dataclass
class Mla(Alternating):
    """For each batch, one modality after the other minimises CE(z_m, y) in a step of its own; z_m = W f_m + b.

    The head W, b is shared. From the second turn of a run on, with r = mean_i f_{m,i}, k = P r, and P = 1 at first,

        P <- P - k k^T / (alpha_t + r^T k),   P <- P / ||P||_F,   dL/dW <- dL/dW P^T,

    where alpha_t = alpha 10^(-t / T) in batch t = 0..T-1 of an epoch. The prediction is z = sum_m w_m z_m, with w_m
    proportional to exp(max_j H_j - H_m) and the entropy H_m of softmax(z_m), for each sample.

    What the projection leaves of the length of dL/dW is logged as the coefficient of the modality. It is about
    1 / sqrt(d) at first, and falls further in every epoch, as directions of features are not forgotten: plain gradient
    descent then hardly moves W, while Adam, which divides by the size of gradients, still does.
    """

    project: Literal["owm", "none"] = setting(
        "owm", "what is done to the gradient of W; owm: the projection; none: nothing"
    )
    alpha: float = setting(
        0.1,
        "alpha in the first step of an epoch; the larger, the less is projected away",
        origin="MLA code",
        at_least=1e-6,
        space=Space(1e-3, 10, log=True),
    )
    weights: Literal["entropy", "equal"] = setting(
        "entropy",
        "the weights of the modalities in a prediction; equal: 1 / M, also of a regression and of several labels",
    )
    name = "mla"
    title = "MLA"
    group = "architecture"
    reference = Reference(
        "Multimodal Representation Learning by Alternating Unimodal Adaptation", "CVPR 2024", "2311.10707"
    )
    official_code = OfficialCode(
        "github.com/Cecile-hi/Multimodal-Learning-with-Alternating-Unimodal-Adaptation", "11ae1ee"
    )
    defects = (
        Defect(
            "utils/utils.py:32",
            "The gradient is projected where a parameter of the head is called module.weight; its name is weight, so "
            "that nothing is ever projected.",
            "The gradient of the shared head is projected.",
        ),
        Defect(
            "utils/utils.py:36",
            "The denominator of the projection is the matrix alpha + k r^T, which divides element by element; it has "
            "no effect, as the line is never reached.",
            "The denominator is the number alpha + r^T k.",
        ),
        Defect(
            "main.py, calculate_entropy",
            "The softmax of the entropy is over the samples of the batch, and the entropy their sum: one weight per "
            "modality for a whole batch.",
            "The entropy is that of the distribution over classes of each sample.",
        ),
    )
    published = "official"
    needs = Needs(additive_fusion=True, at_least=2)
    without_neutral = (
        "Modalities take turns at a shared head under all settings, so that none makes it a simpler method."
    )
    deviations = (
        "r is the mean feature of the modality whose turn it is, as in the official code. The paper, of which the "
        "formulas could not be read, wants to keep what the modality before has taught the head.",
        "The order of the modalities is drawn from the seed. Official code: fixed, audio first (order=given).",
        "Features are computed in each modality's turn. Official code: all before the first one, which gives the same.",
        "Modalities have equal weights with weights=equal. Official code: .5 and .5 by default; .35 (audio), .25 "
        "(video) and .4 (text) of three.",
        "The entropy gives the weights by default, as in the paper. Official code: only with --dynamic.",
        "variant=official takes its entropies over the samples that are predicted at a time.",
        "A modality that a sample lacks has the weight 0.",
        "A regression and several labels, with equal weights, are an extension.",
        "The validation part selects the epoch. Official code: the test part.",
    )
    _projection: Tensor | None = field(default=None, init=False, repr=False)  # (d, d), from the first step on

    def build(self, model: MultimodalModel) -> None:
        if not model.fusion.additive:
            raise UserError(f"{self.name} needs an additive fusion head. Set model.fusion=late-linear.")
        model.fusion = SharedLinear(model.width, model.task.outputs)

    def alone(self, model: MultimodalModel, modality: str, features: Tensor, batch: Batch) -> Tensor:
        z = _head(model).alone({modality: features})[modality]
        return loss_of(self.fit.task, z, batch.target, batch.having.get(modality))

    @torch.no_grad()
    def after_turn(self, modality: str, features: Tensor, batch: Batch) -> None:
        weight = _head(self.fit.model).head.weight
        if self.official or self.project == "none" or weight.grad is None:
            return
        if self._projection is None:
            self._projection = torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)
            return
        direction = mean_feature(features.to(weight.dtype), batch.having.get(modality))
        self._projection = next_projection(self._projection, direction, self._alpha)
        projected = weight.grad @ self._projection.T
        shortest = torch.finfo(weight.dtype).tiny
        self.fit.log(f"coefficient/{modality}", projected.norm() / weight.grad.norm().clamp(min=shortest))
        weight.grad = projected

    @property
    def _alpha(self) -> float:
        """alpha_t of the present step."""
        steps = math.ceil(len(self.fit.train) / self.fit.settings.batch_size)
        passed: float = ((self.fit.step - 1) % steps) / steps
        return self.alpha * math.pow(10.0, -passed)

    def forward(self, batch: Batch) -> Outputs:
        return self._weighted(super().forward(batch), batch.having)

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        return self._weighted(super().predict(model, inputs), inputs.present)

    def _weighted(self, outputs: Outputs, having: Mapping[str, Tensor]) -> Outputs:
        """The outputs with the modalities' logits weighted by their certainty."""
        scores = _head(outputs.model).alone(outputs.features)
        logits = torch.stack(list(scores.values()))
        if self.weights == "entropy" and self.fit.task.classes is not None:
            uncertain = entropies(logits.detach(), over_batch=self.official)
        else:
            uncertain = logits.new_zeros(logits.shape[:2])
        shares = certainty_weights(uncertain, stacked(list(scores), having))[..., None] * logits
        branches = dict(zip(scores, shares.unbind(), strict=True))
        return replace(outputs, logits=sum_of(branches), branch_logits=branches)

    def state_dict(self) -> State:
        return {} if self._projection is None else {"projection": self._projection.clone()}

    def load_state_dict(self, state: State) -> None:
        self._projection = state.get("projection")


def _head(model: MultimodalModel) -> SharedLinear:
    head = model.fusion
    assert isinstance(head, SharedLinear), "build() has put it there"
    return head
