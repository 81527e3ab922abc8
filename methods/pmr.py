"""PMR: modalities that are behind get a cross-entropy of their own, over distances to prototypes of the classes."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.fit.returns import State
from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Group, Method, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.features.prototypes import class_means, nearness
from mcr_bench.methods.terms.losses import loss_of
from mcr_bench.methods.terms.modes import evaluation_mode
from mcr_bench.methods.terms.modulation import check_window, in_window
from mcr_bench.methods.terms.scores import mean_of_others, true_scores

if TYPE_CHECKING:
    from mcr_bench.bench.fit.evaluated import Evaluation


def behind(scores: Tensor, clipped: bool = False) -> Tensor:
    """How far each modality is behind, (M,), of scores s (M,): 1 where s_m < mean_{j != m} s_j, otherwise 0.

    clipped: mean_{j != m} s_j / s_m - 1 instead, between 0 and 1.

    >>> behind(torch.tensor([0.5, 0.4])), behind(torch.tensor([0.5, 0.4]), clipped=True)
    (tensor([0., 1.]), tensor([0.0000, 0.2500]))
    """
    others = mean_of_others(scores)
    return (others / scores - 1).clamp(0, 1) if clipped else (scores < others).to(scores)


@dataclass
class PMR(Method):
    """Minimise L = CE(z, y) + alpha sum_m c_m CE(D_m, y), where D_m[i, c] = -||f_{m,i} - mu_m[c]||.

    The prototype mu_m[c] is the mean feature of class c over a part of the training samples, computed before training
    and after every epoch; it has no gradient. c_m = 1 if s_m < mean_{j != m} s_j, otherwise 0, where
    s_m = mean_i softmax(D_m)_{i, y_i}. The term teaches encoder m alone, whatever the fusion head.
    """

    alpha: float = setting(
        2.0,
        "weight of the prototypes' cross-entropy; 0 = none",
        origin="PMR code, CREMA-D",
        at_least=0,
        space=Space(0.1, 5, log=True),
    )
    coefficient: Literal["step", "clipped"] = setting(
        "step",
        "c_m; step: 1 for modalities that are behind, as the code; clipped: mean_{j != m} s_j / s_m - 1 within 0 and "
        "1, as the paper",
        origin="PMR code",
    )
    share: float = setting(
        0.1, "share of the training batches that the prototypes are means of", origin="PMR code", at_least=0, at_most=1
    )
    momentum: float = setting(
        0.0,
        "what the prototypes keep of those of the epoch before",
        origin="PMR code, released runs",
        at_least=0,
        at_most=1,
        space=Space(0, 0.9),
    )
    start: int = setting(1, "first epoch with the term", at_least=1)
    end: int = setting(0, "last epoch with the term; 0 = the last of the run", at_least=0)
    name: ClassVar[str] = "pmr"
    group: ClassVar[Group] = "modulation"
    reference: ClassVar[Reference] = Reference(
        "PMR: Prototypical Modal Rebalance for Multimodal Learning", "CVPR 2023", "2211.07089"
    )
    official_code: ClassVar[OfficialCode | None] = OfficialCode(
        "github.com/fanyunfeng-bit/Modal-Imbalance-PMR", state="without the entropy regulariser of the paper"
    )
    needs: ClassVar[Needs] = Needs(classification=True, at_least=2)
    neutral: ClassVar[tuple[Neutral, ...]] = (Neutral({"alpha": 0.0}, "joint"),)
    deviations: ClassVar[tuple[str, ...]] = (
        "The entropy regulariser of early epochs (PER) is left out, as in the official code, which does not hold it.",
        "Prototypes are means over training samples as evaluation sees them, a tenth of the batches drawn anew each "
        "epoch, as on CREMA-D but without augmentation. Official code on AVE and CG-MNIST: over the validation part, "
        "by which the epoch is selected.",
        "A class without a sample in that draw keeps its prototype, at first the mean of all features. Official code: "
        "0 / 0.",
        "The term acts in all epochs. Official code: in epochs 0 to 70 of 130 (`end`).",
        "Each of more than two modalities is compared with the mean of the others. The paper defines two modalities.",
    )
    _prototypes: Tensor | None = field(default=None, init=False, repr=False)  # (M, C, d)

    def __post_init__(self) -> None:
        check_window(self.name, self.start, self.end)

    def on_fit_start(self) -> None:
        self._renew(1)

    def on_epoch_end(self, validation: "Evaluation") -> None:
        self._renew(self.fit.epoch + 1)

    def _renew(self, epoch: int) -> None:
        """Compute the prototypes for `epoch`, if the term may still act in it."""
        if not self.alpha or (self.end and epoch > self.end):
            return
        size, count = self.fit.settings.batch_size, len(self.fit.train)
        drawn = torch.randperm(count, generator=self.fit.generator("prototypes"))
        parts = drawn.split(size)[: max(1, int(self.share * -(-count // size)))]
        with torch.no_grad(), evaluation_mode(self.fit.model), self.fit.autocast():
            encoded = [self._encoded(self.fit.train.batch(index)) for index in parts]
            features, members = (torch.cat(rows, 1) for rows in zip(*encoded, strict=True))
            self._prototypes = class_means(features, members, self._prototypes, self.momentum)

    def _encoded(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Features (M, B, d), and (M, B, C) which sample counts for which class: none of a modality that it lacks."""
        model, inputs = self.fit.model, batch.inputs
        rows = [model.encode_one(m, inputs.values[m], inputs.lengths.get(m)) for m in model.modalities]
        features, classes = promoted(torch.stack(rows)), F.one_hot(batch.target, self.fit.task.outputs)
        members = [classes * batch.having[m][:, None] if m in batch.having else classes for m in model.modalities]
        return features, torch.stack(members).to(features)

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        task, having = self.fit.task, batch.having
        losses = {"fused": task.loss(outputs.logits, batch.target)}
        if self._prototypes is None or not self.alpha or not in_window(self.fit.epoch, self.start, self.end):
            return losses
        pairs = zip(outputs.features.items(), self._prototypes.unbind(), strict=True)
        near = {m: nearness(f, mu) for (m, f), mu in pairs}
        scores = true_scores(near, batch.target, task, having)
        weights = self.alpha * behind(scores, self.coefficient == "clipped")
        self.fit.log_each([f"coefficient/{m}" for m in near], weights)
        for (m, logits), weight in zip(near.items(), weights.unbind(), strict=True):
            losses[f"prototypes/{m}"] = weight * loss_of(task, logits, batch.target, having.get(m))
        return losses

    def state_dict(self) -> State:
        return {} if self._prototypes is None else {"prototypes": self._prototypes}

    def load_state_dict(self, state: State) -> None:
        self._prototypes = state["prototypes"].to(self.fit.device) if state else None
