"""Frozen unimodal teachers: the finished unimodal runs, whose features and logits a student is drawn towards."""

import copy
from functools import cached_property

import torch
from torch import Tensor, nn

from mcr_bench.bench.core.precision import full_precision, promoted
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.terms.losses import loss_mean
from mcr_bench.methods.terms.unimodal_start import take_over, unimodal_weights

CHUNK = 4  # training batches whose features are made at a time


def feature_distance(student: Tensor, teacher: Tensor, having: Tensor | None = None) -> Tensor:
    """The mean squared difference () of features (B, d), over the samples at which `having` (B,) is set.

    It is 0 where there is no such sample; no gradient flows into `teacher`.

    >>> feature_distance(torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 0.0]]))
    tensor(5.)
    """
    squares = (promoted(student) - promoted(teacher).detach()).square()
    return squares.mean() if having is None else loss_mean(squares.mean(1), having)


def frozen_run(fit: Fit, modality: str, weights: dict[str, Tensor]) -> tuple[nn.Module, nn.Module]:
    """The encoder and the own head of a modality as its unimodal run left them, in evaluation mode, not to be trained.

    weights: those of the run. Call it in `on_fit_start`, before the model has hooks.
    """
    encoder, head = copy.deepcopy((fit.model.encoders[modality], fit.model.own_heads[modality]))
    take_over(encoder, head, weights, modality)
    return encoder.eval().requires_grad_(False), head.eval().requires_grad_(False)


class Teachers:
    """The encoder and the own head of every modality as its unimodal run left them, in evaluation mode.

    Features of samples that stay in memory are made once, when this is made: training sees them as they are. So no step
    has more passes of encoders than another, in a resumed run as in one without an interruption. Samples on disk are
    seen augmented, so that the teacher encodes them in every step, as the student does.
    Make it in `on_fit_start`, before the model has hooks.
    """

    def __init__(self, fit: Fit) -> None:
        self._fit = fit
        self._parts = {m: frozen_run(fit, m, weights) for m, weights in unimodal_weights(fit).items()}
        self._stored = {m: self._of_all(m) for m in self._parts if isinstance(fit.train.values[m], Tensor)}

    @cached_property
    def _ready(self) -> dict[str, tuple[nn.Module, nn.Module]]:
        """The teachers where the data of the steps is."""
        device = self._fit.train.target.device
        return {m: (encoder.to(device), head.to(device)) for m, (encoder, head) in self._parts.items()}

    @cached_property
    def _kept(self) -> dict[str, Tensor]:
        """Modality -> the features (N, d) of all training samples, where these stay in memory; where the data is."""
        device = self._fit.train.target.device
        return {m: features.to(device) for m, features in self._stored.items()}

    def features(self, modality: str, batch: Batch) -> Tensor:
        """The teacher's features (B, d) of a training batch, without a gradient."""
        kept = self._kept.get(modality)
        return self._encoded(self._ready[modality][0], modality, batch) if kept is None else kept[batch.index]

    def logits(self, modality: str, features: Tensor) -> Tensor:
        """The teacher's logits (B, C) of its `features` (B, d) of a batch, without a gradient, in full precision."""
        return self._scored(self._ready[modality][1], features)

    def mean_scores(self) -> dict[str, float]:
        """Modality -> the mean true-class score of its teacher on the training samples that have it.

        It is `Task.true_score`, also where scores or several labels are learned. This waits for the device.
        """
        return {m: self._mean_score(m) for m in self._parts}

    def _mean_score(self, modality: str) -> float:
        train = self._fit.train
        stored = self._stored.get(modality)
        features = self._of_all(modality) if stored is None else stored
        scores = self._fit.task.true_score(self._scored(self._parts[modality][1], features), train.target)
        return float(loss_mean(scores, train.presence(modality)))

    @torch.no_grad()
    def _scored(self, head: nn.Module, features: Tensor) -> Tensor:
        with full_precision(features.device):
            logits: Tensor = head(promoted(features))
        return logits

    def _of_all(self, modality: str) -> Tensor:
        """The features (N, d) of all training samples as evaluation sees them."""
        train, size = self._fit.train, CHUNK * self._fit.settings.batch_size
        parts = torch.arange(len(train), device=train.target.device).split(size)
        encoder = self._parts[modality][0]
        return torch.cat([self._encoded(encoder, modality, train.batch(index)) for index in parts])

    @torch.no_grad()
    def _encoded(self, encoder: nn.Module, modality: str, batch: Batch) -> Tensor:
        inputs = batch.inputs
        with self._fit.autocast():
            made: Tensor = encoder(inputs.values[modality], inputs.lengths.get(modality))
        for watcher in self._fit.model.watchers:
            watcher(made)
        return made
