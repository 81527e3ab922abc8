"""Functional entropy: a prediction should change with each modality, by its functional Fisher information."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mcr_bench.bench.core.precision import full_precision, promoted
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit import Batch, Facts, MultimodalModel, Outputs, Task
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Method, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.distillation.divergence import log_probabilities
from mcr_bench.methods.terms.features.noise import noisy, repeated
from mcr_bench.methods.terms.losses import loss_mean, stacked
from mcr_bench.methods.terms.modes import evaluation_mode, twice_differentiable

LEAST = 1e-16  # of an information, which is about 1 / (samples of a noisy batch)^2
SMALLEST = 1e-12  # of the loss that divides: where noise changes no certain prediction it and its slopes are 0


def soft_entropy(logits: Tensor, truth: Tensor, task: Task) -> Tensor:
    """The mean cross-entropy () of the distributions of logits (B, C) with those of `truth`, which gets no gradient.

    Of several labels it is the mean of that of each.

    >>> soft_entropy(torch.zeros(1, 4), torch.tensor([[9.0, 0.0, 0.0, 0.0]]), Task(4)).exp()
    tensor(4.0000)
    """
    kept = log_probabilities(truth.detach(), task).exp()
    return -(kept * log_probabilities(logits, task)).sum(-1).mean()


def insensitivity(information: Tensor, known: Tensor | None = None) -> Tensor:
    """R () = the norm of (1 / I_1, ..., 1 / I_M), of informations (M,), each of which counts as at least 1e-16.

    known: (M,) bool, the modalities that some sample of the batch has; the others are left out. None: all.

    >>> insensitivity(torch.tensor([0.25, 1 / 3]))
    tensor(5.)
    >>> insensitivity(torch.tensor([0.25, 0.0]), torch.tensor([True, False]))
    tensor(4.)
    """
    inverse = 1 / information.clamp_min(LEAST)
    norm: Tensor = torch.linalg.vector_norm(inverse if known is None else torch.where(known, inverse, 0.0))
    return norm


@dataclass
class FunctionalEntropy(Method):
    """Minimise CE(z, y) + weight R with R = ||(1 / I_1, ..., 1 / I_M)||, I_m = mean_i ||dl / dx_{m,i}||^2 / l.

    x_m are `draws` copies of the batch with noise N(0, 1) times the standard deviation of each value over the batch,
    and l is the mean cross-entropy of their predictions with softmax(z), a constant. With `level=feature` x_m are the
    features, so that only the fusion head is passed through again; this is an adaptation, not the paper's method.
    """

    weight: float = setting(
        1e-10,
        "lambda, weight of the regularisation; which one acts depends on data, networks and batch size, as R grows "
        "with the square of the samples of a noisy batch: compare loss/insensitivity with loss/fused",
        origin="functional-entropy code, VQA-CP",
        at_least=0,
        space=Space(1e-12, 1e-4, log=True),
    )
    draws: int = setting(
        3, "noisy copies of each sample", origin="functional-entropy code, command line", at_least=1, at_most=100
    )
    level: Literal["input", "feature"] = setting(
        "input", "what gets the noise; input: the inputs, as in the paper; feature: the features, at little cost"
    )
    fisher: bool = setting(
        True, "whether the squares are divided by l; without, they bound a variance", origin="functional-entropy code"
    )
    name = "functional-entropy"
    title = "Functional entropy"
    group = "multi-objective"
    reference = Reference(
        "Removing Bias in Multi-modal Classifiers: Regularization by Maximizing Functional Entropies",
        "NeurIPS 2020",
        "2010.10802",
    )
    official_code = OfficialCode(
        "github.com/itaigat/removing-bias-in-multi-modal-classifiers",
        "f76416c",
        "the regularisation and its use on VQA-CP",
    )
    needs = Needs(at_least=2)
    neutral = (Neutral({"weight": 0.0}, "joint"),)
    deviations = (
        "l is the cross-entropy of distributions over classes. Official code: the binary one of each class.",
        "softmax(z) is a constant. Official code: gradients flow through it.",
        "The norm of a sample's gradient is over all its values. Official code: over the second axis alone.",
        "Noisy passes are in evaluation mode and in full precision. Official code: in training mode.",
        "An information below 1e-16 counts as 1e-16. Official code: no bound.",
        "The deviation is that of the batch. Official code: the unbiased one of all its copies.",
        "Padded steps, and modalities that a sample lacks, get no noise and do not count, an extension; one that no "
        "sample of the batch has is left out of R.",
    )

    def skip(self, facts: Facts) -> str | None:
        """It compares distributions over classes or labels, which a regression does not give; ids take no noise."""
        if facts.task.regression:
            return "is defined for classes and labels, not for scores"
        ids = facts.unmovable("adds noise to inputs") if self.level == "input" else None
        return f"{ids} (level=feature adds it to features)" if ids else None

    def build(self, model: MultimodalModel) -> None:
        if self.level == "feature" and model.fusion.reads:
            raise UserError(
                f"{self.name}.level=feature needs a head that reads features alone. Set model.fusion=late-linear, or "
                "level=input."
            )

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        terms = super().loss(outputs, batch)
        if self.weight:
            information = self.information(outputs, batch)
            for m, value in zip(outputs.features, information.detach().unbind(), strict=True):
                self.fit.log(f"information/{m}", value)
            kept = stacked(list(outputs.features), batch.having)
            terms["insensitivity"] = self.weight * insensitivity(information, None if kept is None else kept.any(1))
        return terms

    def information(self, outputs: Outputs, batch: Batch) -> Tensor:
        """I (M,) of a batch with these outputs; gradients flow through it."""
        model = self.fit.model
        with full_precision(outputs.logits.device), evaluation_mode(model), twice_differentiable(model):
            points, logits = self._noisy(outputs, batch)
            truth = promoted(outputs.logits).repeat(self.draws, 1)
            loss = soft_entropy(logits, truth, self.fit.task)
            slopes = torch.autograd.grad(loss, list(points.values()), create_graph=True)
        if self.level == "input":
            self._tell(truth)
        having = {m: has.repeat(self.draws) for m, has in batch.having.items()}
        squares = {m: g.flatten(1).square().sum(1) for m, g in zip(points, slopes, strict=True)}
        means = torch.stack([loss_mean(x, having.get(m)) for m, x in squares.items()])
        return means / loss.clamp(min=SMALLEST) if self.fisher else means

    def _tell(self, rows: Tensor) -> None:
        """Tell those who count passes that the slopes' own gradient costs one more through each encoder.

        rows: (draws B, ...).
        """
        for _ in self.fit.model.modalities:
            for watcher in self.fit.model.watchers:
                watcher(rows.detach())

    def _noisy(self, outputs: Outputs, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """Modality -> what got the noise, (draws B, ...), and the logits (draws B, C) of it."""
        model, inputs = self.fit.model, repeated(batch.inputs, self.draws)
        sources = batch.inputs.values if self.level == "input" else outputs.features
        points = {}
        for m, x in sources.items():
            generator = self.fit.generator("noise", m, device=x.device)
            lengths = batch.inputs.lengths.get(m) if self.level == "input" else None
            points[m] = noisy(promoted(x), self.draws, generator, batch.having.get(m), lengths)
        if self.level == "feature":
            return points, model.fuse(points).logits
        dropped = {m: flags.repeat(self.draws) for m, flags in batch.dropped.items()}
        return points, model(inputs.replace({**points}), dropped=dropped).logits
