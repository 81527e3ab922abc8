"""PMR: modalities that are behind get a cross-entropy of their own, over distances to prototypes of the classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from mcr_bench.bench.fit import Evaluation
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.features.passes import training_features
from mcr_bench.methods.terms.features.prototype_loss import PrototypeLoss, behind
from mcr_bench.methods.terms.features.prototypes import class_means


@dataclass
class PMR(PrototypeLoss):
    """Minimise L = CE(z, y) + alpha sum_m c_m CE(D_m, y), where D_m[i, c] = -||f_{m,i} - mu_m[c]||.

    The prototype mu_m[c] is the mean feature of class c over a part of the training samples, computed before training
    and after every epoch; it has no gradient. c_m = 1 if s_m < mean_{j != m} s_j, otherwise 0, where
    s_m = mean_i softmax(D_m)_{i, y_i}. The term teaches encoder m alone, whatever the fusion head.
    """

    alpha: float = setting(
        2.0, "weight of the prototypes' loss", origin="PMR code, CREMA-D", at_least=0, space=Space(0.1, 5, log=True)
    )
    coefficient: Literal["step", "clipped"] = setting(
        "step",
        "c_m; step: as the code, 1 where behind; clipped: as the paper, mean_{j != m} s_j / s_m - 1 within 0 and 1",
        origin="PMR code",
    )
    share: float = setting(
        0.1, "share of the training batches that the prototypes are means of", origin="PMR code", at_least=0, at_most=1
    )
    momentum: float = setting(
        0.0, "what prototypes keep of the epoch before", origin="PMR runs", at_least=0, at_most=1, space=Space(0, 0.9)
    )
    name = "pmr"
    title = "PMR"
    group = "modulation"
    reference = Reference("PMR: Prototypical Modal Rebalance for Multimodal Learning", "CVPR 2023", "2211.07089")
    official_code = OfficialCode(
        "github.com/fanyunfeng-bit/Modal-Imbalance-PMR", "1e5c79b", "without the entropy regulariser of the paper"
    )
    needs = Needs(classification=True, at_least=2)
    neutral = (Neutral({"alpha": 0.0}, "joint"),)
    deviations = (
        "The entropy regulariser of early epochs (PER) is left out, as in the official code, which does not hold it.",
        "Prototypes are means over a tenth of the training batches, drawn anew each epoch, as on CREMA-D but without "
        "augmentation. Official code on AVE and CG-MNIST: over the validation part, which selects the epoch.",
        "A class that was not drawn keeps its prototype, at first the mean of all features. Official code: 0 / 0.",
        "The term acts in all epochs. Official code: in epochs 0 to 70 of 130 (`end`).",
        "Each of more than two modalities is compared with the mean of the others. The paper defines two modalities.",
    )

    def on_fit_start(self) -> None:
        self._renew(1)

    def on_epoch_end(self, validation: Evaluation) -> None:
        self._renew(self.fit.epoch + 1)

    def _renew(self, epoch: int) -> None:
        """Compute the prototypes for `epoch`, if the term may still act in it."""
        if self.end and epoch > self.end:
            return
        train, size = self.fit.train, self.fit.settings.batch_size
        batches = max(1, int(self.share * -(-len(train) // size)))
        order = torch.randperm(len(train), generator=self.fit.generator("prototypes"))[: batches * size]
        features, index = training_features(self.fit, order, size), order.to(train.target.device)
        classes = F.one_hot(train.target[index], self.fit.task.outputs)
        members = torch.stack([classes * train.presence(m)[index, None] for m in features])
        rows = torch.stack(list(features.values()))
        self._prototypes = class_means(rows, members.to(rows), self._prototypes, self.momentum)

    def weights(self, scores: Tensor, having: Mapping[str, Tensor]) -> Tensor:
        return self.alpha * behind(scores, self.coefficient == "clipped", having)
