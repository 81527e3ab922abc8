"""The property of incomplete data: samples that lack a modality, and padded sequences."""

from dataclasses import replace

import torch

from mcr_bench.bench.problem.facts import Facts, Modality
from mcr_bench.bench.testing.card import Failed, NotApplicable, Property
from mcr_bench.bench.testing.trials.comparing import Tried
from mcr_bench.bench.testing.trials.epochs import step
from mcr_bench.bench.testing.trials.gates import sound
from mcr_bench.bench.testing.trials.setups import Setup
from mcr_bench.bench.testing.trials.trials import Trials
from mcr_bench.methods.base import Method

NOTHING = 1e-6  # largest gradient of an own head that learns nothing; some methods add noise of this size


@sound
def absent_modality(trials: Trials) -> None:
    """An epoch on samples of which some lack a modality, and of which one modality is padded."""
    setup = replace(trials.usual, partly=True)
    if reason := trials.cls().skip(_facts(trials, setup)):
        raise NotApplicable(reason)
    tried = trials.tried_with(setup)
    if tried != Tried():
        raise Failed(f"where samples lack a modality, or are padded: {tried.text}")
    method = trials.start(setup)
    if method.needs.own_heads:
        for m in method.fit.model.modalities:
            _require_nothing_learned(method, m)


def _facts(trials: Trials, setup: Setup) -> Facts:
    part = setup.part(trials.cls.variants(setup.modalities)[0])
    shapes = {m: tuple(x.shape[1:]) for m, x in part.values.items()}
    return Facts({m: Modality(s, m in part.lengths, m in part.present) for m, s in shapes.items()}, setup.task)


def _require_nothing_learned(method: Method, modality: str) -> None:
    """A step on samples that all lack a modality has no gradient for its own head."""
    fit = method.fit
    absent = (~fit.train.presence(modality)).nonzero()[:, 0]
    if not len(absent):  # a method of one modality: samples without it are left out
        return
    step(method, fit.train.batch(absent))
    gradients = [p.grad.abs().max() for p in fit.model.own_heads[modality].parameters() if p.grad is not None]
    if gradients and torch.stack(gradients).max() > NOTHING:
        raise Failed(f"the own head of '{modality}' learns from samples that lack '{modality}'")


PROPERTIES = (
    Property(
        "absent-modality",
        "samples that lack a modality, and padded sequences, train without errors; own heads learn nothing of absences",
        "batch.having has the samples that have a modality, and batch.inputs.lengths the real steps of padded ones. "
        "Take means with own_losses, loss_of and batch_mean of mcr_bench.methods.terms.losses, and hand on lengths: "
        "fit.model.encode(inputs), inputs.replace(values).",
        absent_modality,
    ),
)
