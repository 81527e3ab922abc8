"""How good the finished unimodal runs are on the validation part, by which modalities are ranked before training."""

import torch
from torch import Tensor

from mcr_bench.bench.core.precision import full_precision, promoted
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.problem.metrics import metrics_of
from mcr_bench.bench.training.reader import reading
from mcr_bench.methods.terms.distillation.teachers import CHUNK, frozen_run
from mcr_bench.methods.terms.unimodal_start import unimodal_weights


def validation_scores(fit: Fit) -> dict[str, tuple[float, float]]:
    """Modality -> how good its unimodal run is on the validation samples that have it, as two numbers; more is better.

    The first is the task's first metric: the accuracy of classes, the subset accuracy of several labels, minus the mean
    absolute error of scores. The second is minus the loss, which tells runs of equal accuracy apart, as it does where
    an epoch is selected. A modality that no validation sample has is left out. Call it in `on_fit_start`, before the
    model has hooks.
    """
    known = [m for m in fit.model.modalities if fit.val.presence(m).any()]
    return {m: _score(fit, m) for m in known}


def _score(fit: Fit, modality: str) -> tuple[float, float]:
    first, *_, loss = metrics_of(fit.task)
    logits, labels = (fit.val.having(modality, x) for x in (unimodal_logits(fit, modality), fit.val.labels))
    value = first.compute(logits, labels)
    return value if first.higher_is_better else -value, -loss.compute(logits, labels)


@torch.no_grad()
def unimodal_logits(fit: Fit, modality: str) -> Tensor:
    """The logits (N, C) of a modality's unimodal run on the validation part, in the user's unit where they are scores.

    They are those of its encoder and own head, in evaluation mode and in full precision after the encoder.
    """
    encoder, head = frozen_run(fit, modality, unimodal_weights(fit)[modality])
    rows = []
    with reading(fit.val, torch.arange(len(fit.val)), CHUNK * fit.settings.batch_size) as parts:
        for index in parts:
            inputs = fit.val.batch(index).inputs
            with fit.autocast():
                features = encoder(inputs.values[modality], inputs.lengths.get(modality))
            with full_precision(features.device):
                rows.append(head(promoted(features)))
    return fit.task.user(torch.cat(rows))
