"""Gradient Blending: the fused loss and each modality's, weighted by how much each branch gains and how it overfits."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit import Batch, Outputs, State
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import EpochBatches, Method, Needs, OfficialCode, Reference
from mcr_bench.methods.terms.losses import multi_loss
from mcr_bench.methods.terms.objectives.branches import Branch, branch_loss, train_branch, undone

SMALLEST = 1e-8


def blend(before: Tensor, after: Tensor) -> Tensor:
    """The weights (K,) of K branches: G / dO^2, divided by their sum.

    before, after: (2, K), the losses on training samples and those on samples that were held out, before and after
    some training. G is how much the second has fallen, at least 1e-8, and dO how much further it is above the first;
    dO^2 counts as at least 1e-8.

    >>> start = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    >>> blend(start, torch.tensor([[0.4, 0.3], [0.5, 0.5]]))  # 0.5 / 0.1^2 = 50 and 0.5 / 0.2^2 = 12.5
    tensor([0.8000, 0.2000])
    """
    gain = (before[1] - after[1]).clamp_min(SMALLEST)
    overfitting = (after[1] - after[0]) - (before[1] - before[0])
    ratios = gain / overfitting.square().clamp_min(SMALLEST)
    return ratios / ratios.sum()


def held_count(total: int, share: float, batch_size: int) -> int:
    """How many of `total` samples, 2 at least, are held out: the share of them, so that one at least is on each side.

    It is one fewer, or one more where it is one, if the samples that remain would leave a single one for a last batch,
    of which batch norm has no statistics.

    >>> held_count(40, 0.25, 10), held_count(41, 0.25, 10), held_count(4, 0.25, 2)
    (10, 9, 2)
    """
    count = min(max(1, round(share * total)), total - 1)
    if (total - count) % batch_size != 1:
        return count
    return count - 1 if count > 1 else min(2, total - 1)


@dataclass
class GradientBlending(Method):
    """Minimise w_0 CE(z, y) + sum_m w_m CE(h_m, y) with w_k = (G_k / dO_k^2) / sum_j (G_j / dO_j^2).

    Branch k is trained on its own for n epochs, which is then undone. G_k is how much its loss on held-out samples
    falls, and dO_k how much the gap between that loss and the one on the samples that it is trained on grows. Online
    this is repeated before every n-th epoch from the present weights; offline it is done once, from the initial ones,
    for as many epochs as the run has. Without an estimate, outside of epochs, all weights are equal. z is predicted.
    In both modes a run costs about three times joint training: itself, the fused branch, and all others together.
    """

    mode: Literal["online", "offline"] = setting(
        "online",
        "online: new weights before every `super_epoch`-th epoch; offline: once, before the first epoch",
        origin="BalanceBenchmark",
    )
    super_epoch: int = setting(
        10,
        "online: epochs for which weights hold, and for which each branch is trained to find them",
        origin="BalanceBenchmark",
        at_least=1,
    )
    held_out: float = setting(
        0.1,
        "share of the training samples on which gains are measured; online they are never trained on",
        at_least=0.01,
        at_most=0.5,
        space=Space(0.05, 0.3),
    )
    name = "gradient-blending"
    title = "Gradient Blending"
    group = "multi-objective"
    reference = Reference("What Makes Training Multi-Modal Classification Networks Hard?", "CVPR 2020", "1905.12681")
    official_code = OfficialCode(
        "github.com/facebookresearch/VMZ", state="weights of trained models only; read in someone else's code"
    )
    needs = Needs(own_heads=True, at_least=2)
    without_neutral = "Weights come from training the branches, and sum to 1, under all settings."
    deviations = (
        "The length of a super-epoch is that of BalanceBenchmark; the paper could not be read.",
        "Gains are measured on samples held out of the training part, drawn by the run's seed, not on the validation "
        "part, which selects the epoch.",
        "Losses are means in evaluation mode. BalanceBenchmark: sums over batches of parts of different sizes.",
        "A gain below 1e-8 counts as 1e-8, and so does dO^2. BalanceBenchmark: absolute values.",
        "A branch goes on with the run's optimiser and the learning rate of the step before, in the first estimate "
        "without a warm-up, for no more epochs than remain.",
        "A modality's branch is its encoder and its own head. BalanceBenchmark: the whole model, others being zero.",
        "One sample fewer or more is held out where a last batch would have a single one.",
        "Scores and several labels are an extension.",
    )
    _weights: Tensor | None = field(default=None, init=False, repr=False)  # (1 + M,), fused first
    _held: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64), init=False, repr=False)
    _trained: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64), init=False, repr=False)

    def own_weight(self) -> float:
        """1, as for multi-loss, so that the loss of one epoch can be compared with that of another."""
        return 1.0

    def on_fit_start(self) -> None:
        if len(self.fit.train) < 2:
            raise UserError(f"{self.name} holds training samples out and trains on others: it needs two at least.")
        drawn = torch.randperm(len(self.fit.train), generator=self.fit.generator("held out"))
        count = held_count(len(drawn), self.held_out, self.fit.settings.batch_size)
        self._held, self._trained = drawn[:count], drawn[count:]

    def on_epoch_start(self) -> None:
        repeats = self.mode == "online" and (self.fit.epoch - 1) % self.super_epoch == 0
        if self._weights is None or repeats:
            self._weights = self.estimate()
        self.fit.log("weight/fused", self._weights[0])
        self.fit.log_each([f"coefficient/{m}" for m in self.fit.model.modalities], self._weights[1:])

    def estimate(self) -> Tensor:
        """The weights (1 + M,) from the present state of the run: of the fused loss, and by modality."""
        fit, branches = self.fit, [None, *self.fit.model.modalities]
        left = max(1, fit.settings.epochs - fit.epoch + 1)
        epochs = left if self.mode == "offline" else min(self.super_epoch, left)
        before, after = self._losses(branches), []
        for branch in branches:
            with undone(fit):
                train_branch(fit, branch, self._trained, epochs)
                after.append(self._losses([branch]))
        return blend(before, torch.cat(after, 1))

    def _losses(self, branches: list[Branch]) -> Tensor:
        """The losses (2, K) of branches on the samples that are trained on, and on those that are held out."""
        parts = (self._trained, self._held)
        return torch.stack([torch.stack([branch_loss(self.fit, b, part) for b in branches]) for part in parts])

    def epoch_batches(self, epoch: int) -> EpochBatches | None:
        if self.mode == "offline":
            return None
        order = self.fit.order()
        return EpochBatches(order[~torch.isin(order, self._held)])

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        terms = multi_loss(self.fit.task, outputs, batch.target, having=batch.having, own=batch.own)
        if self._weights is None:
            return {name: term / len(terms) for name, term in terms.items()}
        return {name: w * term for w, (name, term) in zip(self._weights.unbind(), terms.items(), strict=True)}

    def state_dict(self) -> State:
        return {"weights": self._weights if self._weights is None else self._weights.cpu()}

    def load_state_dict(self, state: State) -> None:
        weights = state["weights"]
        self._weights = weights if weights is None else weights.to(self.fit.device)
