"""Properties of outputs that must agree: what is trained and what predicts, logits and their shares by modality."""

import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.models.fusion import sum_of
from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.testing.card import Failed, NotApplicable, Property
from mcr_bench.bench.testing.fits import whole_batch
from mcr_bench.bench.testing.trials.comparing import first_difference
from mcr_bench.bench.testing.trials.epochs import begin_epoch, train
from mcr_bench.bench.testing.trials.gates import sound, usable
from mcr_bench.bench.testing.trials.trials import Trials
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Method

TOLERANCE = 1e-4  # largest difference of logits, as a share of the largest of them
EPOCHS = (1, 25)  # also a late one, as some methods change what they do at an epoch


@sound
def predicts_what_it_trains(trials: Trials) -> None:
    """On the same samples, in evaluation mode, `predict` gives the logits that `forward` gives to the loss."""
    if reason := trials.cls.predicts_otherwise:
        raise NotApplicable(f"it says why it predicts otherwise: {reason}")
    method = _trained(trials)
    for epoch in EPOCHS:
        method.fit.epoch = epoch - 1
        begin_epoch(method)
        method.fit.model.eval()
        batches = whole_batch(method.fit), whole_batch(method.fit)
        given, predicted = _forward(method, batches[0]).logits, _predict(method, batches[1]).logits
        if any(_changed(batch, method.fit) for batch in batches):
            raise NotApplicable("not checked, as its inputs are changed in place")
        if given.shape != predicted.shape:
            raise NotApplicable("not checked, as a prediction has a wrong form")
        if difference := _difference(given, predicted):
            raise Failed(f"in epoch {epoch} the logits of predict() differ from those of forward() by {difference:.1e}")


@usable
def branches_sum_to_logits(trials: Trials) -> None:
    """Where outputs have a share of the logits for each modality, the shares and the bias sum to the logits."""
    method, told = _trained(trials), 0
    hooks = {"forward": _forward, "predict": _predict} if trials.cls.trains else {"predict": _predict}
    for hook, call in hooks.items():
        outputs = call(method, whole_batch(method.fit))
        if (split := outputs.split_logits) is None:
            continue
        told += 1
        if lacking := [m for m in method.fit.model.modalities if m not in split]:
            raise Failed(f"{hook}() gives branch_logits without '{lacking[0]}'")
        if difference := _difference(sum_of(split), outputs.logits):
            raise Failed(f"{hook}() gives branch_logits that differ in sum from its logits by {difference:.1e}")
    if not told:
        raise NotApplicable("it gives no branch_logits")


def _trained(trials: Trials) -> Method:
    """The method after an epoch, in evaluation mode."""
    method = trials.start()
    if trials.cls.trains:
        train(method)
    method.fit.model.eval()
    return method


def _forward(method: Method, batch: Batch) -> Outputs:
    return method.forward(batch)


@torch.no_grad()
def _predict(method: Method, batch: Batch) -> Outputs:
    return method.predict(method.fit.model, batch.inputs)


def _changed(batch: Batch, fit: Fit) -> bool:
    """Whether the inputs of a whole batch are no longer the data, of which other properties tell."""
    return bool(first_difference(whole_batch(fit).inputs.values, batch.inputs.values))


def _difference(a: Tensor, b: Tensor) -> float:
    """The largest difference of logits (B, C), if it is larger than rounding; otherwise 0."""
    difference = float((a.detach() - b.detach()).abs().max())
    return 0.0 if difference <= TOLERANCE * max(1.0, float(b.detach().abs().max())) else difference


PROPERTIES = (
    Property(
        "predicts-what-it-trains",
        "predict gives the logits of forward, which the loss trains, unless the method says why not",
        "Let predict() and forward() give the same logits for the same samples; where they are meant to differ (a mean "
        'of the own heads, draws in training), say why: predicts_otherwise = "...".',
        predicts_what_it_trains,
    ),
    Property(
        "branches-sum-to-logits",
        "branch_logits, where it gives them, sum to the logits without the bias of the fusion head",
        "Change logits together with their shares, or give none: dataclasses.replace(outputs, logits=logits, "
        "branch_logits=None). The bias of a fusion head of your own is its attribute `bias`, None if it has none.",
        branches_sum_to_logits,
    ),
)
