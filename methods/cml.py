"""CML: the confidence of a right prediction must not rise when a modality is removed."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.fit import Batch, Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Method, Needs, OfficialCode, Reference
from mcr_bench.methods.terms.games.confidence import kept_sets, rises
from mcr_bench.methods.terms.losses import loss_mean
from mcr_bench.methods.terms.modes import evaluation_mode


@dataclass
class Cml(Method):
    """Minimise (1 / M) sum_k CE(z_k, y) + weight sum_k sum_i R_{k,i} over nested sets S_1 = all, ..., S_M of one.

    Each sample loses its modalities in an order that is drawn anew; z_k are the fused logits with zeros in place of the
    features of those outside S_k. R_{k,i} = max(0, max_c p_{k+1} - max_c p_k - margin) with p_k = softmax(z_k) where
    argmax z_k = y_i, otherwise 0: `rises`.
    """

    weight: float = setting(
        0.1, "lambda, weight of the rises", origin="BalanceBenchmark", at_least=0, space=Space(1e-3, 1, log=True)
    )
    margin: float = setting(
        0.0, "epsilon, a rise that is tolerated", origin="CML code", at_least=0, at_most=1, space=Space(0, 0.2)
    )
    over_samples: Literal["sum", "mean"] = setting(
        "sum", "how the rises of a batch are put together; mean: the same for every batch size", origin="CML code"
    )
    name = "cml"
    title = "CML"
    group = "multi-objective"
    reference = Reference("Calibrating Multimodal Learning", "ICML 2023", "2306.01265")
    official_code = OfficialCode("github.com/QingyangZhang/CML", "9d2496e")
    needs = Needs(classification=True, at_least=2)
    without_neutral = "With weight 0 the cross-entropies of the smaller sets of modalities stay."
    deviations = (
        "A modality is removed by zeros in place of its features, in evaluation mode of the fusion head. Official "
        "code: its inputs are replaced by their mean over the training part, and the model imputes them.",
        "Official code, miwae: where both sets are wrong, the rise of the smaller one counts too, with no gradient to "
        "the larger one. Official code, cpm: all rises count but those that correct the prediction.",
        "There is no loss of reconstruction, which the models of the official code have.",
        "Of a sample that lacks modalities, the sets differ by those that it has.",
        "BalanceBenchmark, whose published numbers the tables hold, departs from it: it takes the positive part of the "
        "sum over the batch, computes the mask of right predictions without using it, and subtracts shares of the "
        "logits in place of predicting again.",
    )

    def order(self, batch: Batch) -> dict[str, Tensor]:
        """Modality -> its place (B,) int64 in the order in which each sample loses its modalities, drawn.

        Those that a sample lacks come first.
        """
        keys = {}
        for m in self.fit.model.modalities:
            source = self.fit.generator("order", m, device=batch.target.device)
            key = torch.rand(len(batch.target), generator=source, device=batch.target.device)
            keys[m] = key - (~batch.having[m]).to(key) if m in batch.having else key
        every = torch.stack(list(keys.values()))
        return {m: (every < key).sum(0) for m, key in keys.items()}

    def nested(self, outputs: Outputs, order: dict[str, Tensor]) -> Tensor:
        """The logits (M, B, C) of the sets from which 0, 1, ..., M - 1 modalities are removed in this order."""
        model = self.fit.model
        with evaluation_mode(model.fusion):
            smaller = [
                model.fuse(model.drop(outputs.features, {m: at < k for m, at in order.items()})).logits
                for k in range(1, len(order))
            ]
        return promoted(torch.stack([outputs.logits, *smaller]))

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        order = self.order(batch)
        logits = self.nested(outputs, order)
        losses, more = self.fit.task.per_sample(logits, batch.target), rises(logits, batch.target, self.margin)
        kept = kept_sets(order, batch.having)
        more = more if kept is None else torch.where(kept[1:], more, 0.0)
        rise = more.sum() if self.over_samples == "sum" else more.sum(0).mean()
        nested = loss_mean(losses.flatten(), None if kept is None else kept.flatten())
        return {"nested": nested, "rise": self.weight * rise}
