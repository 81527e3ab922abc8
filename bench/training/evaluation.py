"""Evaluation of a part of the data: predictions and metrics, from all modalities, from each, and from subsets."""

import math
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from mcr_bench.bench.fit.evaluated import Evaluation
from mcr_bench.bench.fit.returns import checked_weight
from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel
from mcr_bench.bench.problem.metrics import TOTAL_LOSS, Metric, higher_is_better, metric, metrics_of, score
from mcr_bench.bench.problem.missing import diagnostic
from mcr_bench.bench.problem.shapley import shapley_values
from mcr_bench.bench.task import Task
from mcr_bench.bench.training.probes import Probes
from mcr_bench.bench.training.reader import reading
from mcr_bench.bench.training.subsets import Subsets, predicted
from mcr_bench.datasets.base import Split
from mcr_bench.methods.base import Method


def evaluate(
    method: Method,
    model: MultimodalModel,
    split: Split,
    probes: Probes | None,
    chunk: int,
    subsets: Subsets | None = None,
    curve: bool = False,
) -> Evaluation:
    """All predictions and metrics on `split`, `chunk` samples at a time.

    probes: the heads for predictions from one modality; None where the method trains own heads. Such a method has one
    more metric, `total_loss`: the loss plus `own_weight` times the sum of its own heads' losses.
    subsets: collects the predictions from subsets of the modalities on the way, from the same pass of the encoders.
    curve: whether the metrics are those of an epoch, see `score`; UserError if the one that selects is not defined.
    """
    with torch.no_grad(), reading(split, torch.arange(len(split)), chunk) as chunks:
        rows = [_outputs(method, model, split.batch(index).inputs, probes, subsets) for index in chunks]
    logits, target = torch.cat([row.logits for row in rows]), split.labels
    features, modality = _join([row.features for row in rows]), _join([row.modality for row in rows])
    parts = _join([row.split for row in rows])
    missing: dict[str, str] = {}
    needed = ("loss", method.fit.settings.monitor) if curve else ("loss",)  # a test part may not define what selects
    metrics = score(logits, target, model.task, needed, missing, curve)
    if probes is None:
        known = {m: z for m, z in modality.items() if split.presence(m).any()}
        loss = metric("loss", model.task)
        own = sum(loss.of(*_having(split, m, z, split.labels_of(m))) for m, z in known.items())
        metrics[TOTAL_LOSS] = metrics["loss"] + checked_weight(method, method.own_weight()) * own
    head = metrics_of(model.task)[0]
    failures = {} if probes is None else probes.failures
    missing |= {f"modality/{m}/{head.name}": reason for m, reason in failures.items()}
    alone = {m: split.labels_of(m) for m in modality}
    metrics |= _by_modality("modality", modality, alone, split, head, missing)
    metrics |= _by_modality("split", parts, dict.fromkeys(parts, split.labels), split, head, missing)
    return Evaluation(logits, features, modality, parts or None, target, metrics, missing)


@torch.no_grad()
def features_of(method: Method, model: MultimodalModel, split: Split, chunk: int) -> dict[str, Tensor]:
    """Modality -> the features (N, d) of the N samples of `split`, without any metric, which it need not define."""
    with reading(split, torch.arange(len(split)), chunk) as chunks:
        return _join([_outputs(method, model, split.batch(index).inputs, None, None).features for index in chunks])


def _having(split: Split, modality: str, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Of logits (N, C) and labels (N,) those of samples that have the modality."""
    return split.having(modality, logits), split.having(modality, labels)


def _by_modality(
    place: str,
    logits: dict[str, Tensor],
    labels: Mapping[str, Tensor],
    split: Split,
    head: Metric,
    missing: dict[str, str],
) -> dict[str, float]:
    """The metric of each modality's logits (N, C) against its labels (N,), over the samples that have it.

    Logits that are not finite are removed from `logits`.
    """
    metrics = {}
    for m in list(logits):
        name = f"{place}/{m}/{head.name}"
        if not logits[m].isfinite().all():
            missing[name] = "its logits are not finite"
            del logits[m]
        elif m in split.present and not split.present[m].any():
            missing[name] = "no sample of the part has the modality"
        else:
            compute = partial(head.of, *_having(split, m, logits[m], labels[m]))
            if (value := diagnostic(missing, name, compute)) is not None:
                metrics[name] = value
    return metrics


@torch.no_grad()
def subset_logits(
    method: Method,
    model: MultimodalModel,
    split: Split,
    absent: Inputs,
    chunk: int,
    collected: Subsets | None = None,
) -> dict[tuple[str, ...], Tensor]:
    """Proper subset of the modalities, the empty one included -> predictions (N, C) from it, as in `Evaluation`.

    The inputs of the other modalities are replaced by `absent`, each (1, ...). Up to four modalities every subset is
    taken. With more these are the single modalities, all but one of them, and some subsets between, which the run's
    seed draws alike for all methods (`bench.problem.shapley.shapley_plan`).
    collected: what `evaluate` has collected on `split`; without it the samples are read and encoded once.
    """
    if collected is None:
        collected = Subsets(method, model, absent)
        with reading(split, torch.arange(len(split)), chunk) as chunks:
            for index in chunks:
                collected.add(split.batch(index).inputs)
    return collected.logits()


def absent_inputs(train: Split) -> Inputs:
    """The inputs that replace an absent modality: its mean training input (1, ...), with the mean length."""
    lengths = {m: n.reshape(1) for m, n in train.mean_lengths().items()}
    return Inputs({m: x.unsqueeze(0) for m, x in train.mean().items()}, lengths)


def contributions(
    evaluation: Evaluation, subsets: Mapping[tuple[str, ...], Tensor], task: Task, worth: Metric | None = None
) -> dict[str, float]:
    """Modality -> its Shapley value, the game's worth being a metric, without one the task's first.

    subsets: what `subset_logits` gives, subset -> predictions (N, C).
    """
    compute = (worth or metrics_of(task)[0]).of
    values = {frozenset(s): compute(logits, evaluation.target) for s, logits in subsets.items()}
    names = frozenset(evaluation.features)
    return shapley_values({**values, names: compute(evaluation.logits, evaluation.target)})


def better(new: dict[str, float], old: dict[str, float] | None, monitor: str, task: Task, ties: str = "loss") -> bool:
    """Whether the validation metrics `new` are better than `old`, or the first; nan is worse than any value.

    The metric `monitor` decides. If it is equal, the lower loss decides (ties = "loss"), or `new` is not better
    (ties = "first").

    >>> best = {"accuracy": 0.8, "loss": 0.5}
    >>> better({"accuracy": 0.8, "loss": 0.4}, best, "accuracy", Task(2))
    True
    >>> better({"accuracy": 0.8, "loss": 0.4}, best, "accuracy", Task(2), ties="first")
    False
    """
    if old is None:
        return True
    sign = 1 if higher_is_better(monitor, task) else -1
    ranks = [[-math.inf if math.isnan(x) else x for x in (sign * m[monitor], -m["loss"])] for m in (new, old)]
    return ranks[0] > ranks[1] if ties == "loss" else ranks[0][0] > ranks[1][0]


class Row(NamedTuple):
    """The predictions of one chunk of n samples, as in `Evaluation`.

    logits: (n, C).
    features: modality -> (n, d).
    modality: modality -> logits (n, C) from it alone.
    split: modality -> its share (n, C) of an additive head's logits; empty for other heads.
    """

    logits: Tensor
    features: dict[str, Tensor]
    modality: dict[str, Tensor]
    split: dict[str, Tensor]


def _outputs(
    method: Method, model: MultimodalModel, inputs: Inputs, probes: Probes | None, subsets: Subsets | None
) -> Row:
    with model.remembering(None if subsets is None else subsets.memory), method.fit.autocast():
        outputs = predicted(method, model, inputs.copy())  # `predict` may change them
        modality = outputs.own_logits if probes is None else probes.logits(outputs.features)
        parts = outputs.split_logits or {}
    if subsets is not None:
        subsets.add(inputs)
    task = model.task
    return Row(
        task.user(outputs.logits.float()),
        _floats(outputs.features),
        {m: task.user(z) for m, z in _floats(modality).items()},
        {m: task.user(z) for m, z in _floats(parts).items()},
    )


def _floats(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {m: t.float() for m, t in tensors.items()}


def _join(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {m: torch.cat([row[m] for row in rows]) for m in rows[0]}
