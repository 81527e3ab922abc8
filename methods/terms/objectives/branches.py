"""Branches of a model, the fused one and each modality's own: one is trained for a while, which is then undone."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from mcr_bench.bench.core import seeds
from mcr_bench.bench.core.precision import full_precision, promoted
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.training.reader import reading
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.terms.features.passes import over_training
from mcr_bench.methods.terms.losses import loss_mean

Branch = str | None  # a modality, whose encoder and own head it is; None: all encoders and the fusion head


@contextmanager
def undone(fit: Fit) -> Iterator[None]:
    """After the block weights, buffers and the state of the optimiser are as before it; no gradient is left."""
    weights = {name: x.detach().clone() for name, x in fit.model.state_dict().items()}
    optimiser = copy.deepcopy(fit.optimizer.state_dict())
    try:
        yield
    finally:
        fit.model.load_state_dict(weights)
        fit.optimizer.load_state_dict(optimiser)
        fit.zero_grad()


def train_branch(fit: Fit, branch: Branch, index: Tensor, epochs: int) -> None:
    """Train a branch by its own loss on the training samples `index`, (n,) int64 on the CPU, for so many epochs.

    The order is drawn for each epoch, the same for all branches. Learning rates stay those of the run's last step, and
    before its first step those without a warm-up.
    """
    with seeds.seeded(fit.seed, "method", fit.epoch, "branch"):
        for epoch in range(epochs):
            order = index[torch.randperm(len(index), generator=fit.generator("branch", epoch))]
            with reading(fit.train, order, fit.settings.batch_size) as parts:
                for place, part in enumerate(parts):
                    seeds.reseed(fit.device, fit.seed, "method", fit.epoch, "branch", epoch, place)
                    _step(fit, branch, fit.train.training_batch(part))


def _step(fit: Fit, branch: Branch, batch: Batch) -> None:
    with fit.autocast():
        loss = loss_mean(*_losses(fit, branch, batch))
    fit.zero_grad()
    loss.backward()
    if fit.settings.clip_norm:
        torch.nn.utils.clip_grad_norm_(fit.model.parameters(), fit.settings.clip_norm)
    fit.optimizer.step()


def branch_loss(fit: Fit, branch: Branch, index: Tensor) -> Tensor:
    """The loss () of a branch in evaluation mode, a mean over those of the training samples `index` that it takes.

    index: (n,) int64 on the CPU. A modality's branch takes the samples that have it; the loss over none is 0.
    """
    rows = over_training(fit, index, 4 * fit.settings.batch_size, partial(_losses, fit, branch))
    taken = [having for _, having in rows if having is not None]
    return loss_mean(torch.cat([losses for losses, _ in rows]), torch.cat(taken) if taken else None)


def _losses(fit: Fit, branch: Branch, batch: Batch) -> tuple[Tensor, Tensor | None]:
    """A branch's loss of every sample, (B,), and which samples count, (B,) bool; None where all do."""
    model, inputs = fit.model, batch.inputs
    if branch is None:
        return fit.task.per_sample(model(inputs).logits, batch.target), None
    features = model.encode_one(branch, inputs.values[branch], inputs.lengths.get(branch))
    with full_precision(features.device):
        logits = model.own_heads[branch](promoted(features))
    return fit.task.per_sample(logits, batch.target_of(branch)), batch.having.get(branch)
