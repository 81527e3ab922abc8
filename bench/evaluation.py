"""Evaluation of one part of the data: predictions, metrics, per-modality reports, every subset of the modalities."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from mcr_bench.bench.contributions import shapley
from mcr_bench.bench.metrics import metric, metrics_of, score
from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel, Outputs
from mcr_bench.bench.probes import Probes
from mcr_bench.bench.returns import checked_outputs
from mcr_bench.bench.task import Task
from mcr_bench.datasets.base import Split
from mcr_bench.methods.base import Method


@dataclass
class Evaluation:
    """Predictions on a part of the data, float32, in its order.

    modality_logits: modality -> (N, C), from own heads or probes; split_logits: the same of an additive fusion head.
    """

    logits: Tensor
    features: dict[str, Tensor]
    modality_logits: dict[str, Tensor]
    split_logits: dict[str, Tensor] | None
    target: Tensor
    metrics: dict[str, float]


def evaluate(method: Method, model: MultimodalModel, split: Split, probes: Probes | None, chunk: int) -> Evaluation:
    """All predictions and metrics on `split`; `probes` is None where the method trains own heads."""
    rows = [_outputs(method, model, split, part, probes) for part in _chunks(split, chunk)]
    logits = torch.cat([row.logits for row in rows])
    features, modality = _join([row.features for row in rows]), _join([row.modality for row in rows])
    parts = _join([row.split for row in rows])
    metrics = score(logits, split.target, model.task)
    head = metrics_of(model.task)[0].name
    compute = metric(head, model.task).compute
    for place, found in (("modality", modality), ("split", parts)):
        metrics |= {f"{place}/{m}/{head}": compute(z, split.target) for m, z in found.items()}
    return Evaluation(logits, features, modality, parts or None, split.target, metrics)


def subset_logits(
    method: Method, model: MultimodalModel, split: Split, absent: Inputs, chunk: int
) -> dict[tuple[str, ...], Tensor]:
    """Predictions (N, C) for every proper subset of modalities, the empty one too; the others are `absent` (1, ...)."""
    names = model.modalities
    subsets = [s for size in range(len(names)) for s in combinations(names, size)]
    return {s: _masked(method, model, split, absent, set(names) - set(s), chunk) for s in subsets}


def absent_inputs(train: Split) -> Inputs:
    """What stands for an absent modality: its mean training input, at the mean length, as a batch of one."""
    lengths = {m: n.double().mean().round().long().reshape(1) for m, n in train.lengths.items()}
    return Inputs({m: x.unsqueeze(0) for m, x in train.mean().items()}, lengths)


def contributions(found: Evaluation, subsets: Mapping[tuple[str, ...], Tensor], task: Task) -> dict[str, float]:
    """Each modality's Shapley value of the task's first metric; `subsets` as `subset_logits` gives them."""
    compute = metrics_of(task)[0].compute
    values = {frozenset(s): compute(logits, found.target) for s, logits in subsets.items()}
    names = frozenset(found.features)
    return shapley({**values, names: compute(found.logits, found.target)})


def better(new: dict[str, float], old: dict[str, float] | None, monitor: str, task: Task) -> bool:
    """Whether `new` validation metrics beat `old`: the better monitor, ties by the lower loss; NaN is worst."""
    if old is None:
        return True
    sign = 1 if metric(monitor, task).higher_is_better else -1
    ranks = [[-math.inf if math.isnan(x) else x for x in (sign * m[monitor], -m["loss"])] for m in (new, old)]
    return ranks[0] > ranks[1]


def _chunks(split: Split, chunk: int) -> Iterator[Tensor]:
    yield from torch.arange(len(split)).split(chunk)


class Row(NamedTuple):
    """One chunk's predictions."""

    logits: Tensor
    features: dict[str, Tensor]
    modality: dict[str, Tensor]
    split: dict[str, Tensor]


def _predicted(method: Method, model: MultimodalModel, inputs: Inputs, count: int) -> Outputs:
    return checked_outputs(method, "predict", method.predict(model, inputs), count, model.task.outputs)


@torch.no_grad()
def _outputs(method: Method, model: MultimodalModel, split: Split, index: Tensor, probes: Probes | None) -> Row:
    with method.fit.autocast():
        outputs = _predicted(method, model, split.batch(index).inputs, len(index))
        modality = outputs.own_logits if probes is None else probes.logits(outputs.features)
        parts = outputs.split_logits or {}
    return Row(outputs.logits.float(), _floats(outputs.features), _floats(modality), _floats(parts))


@torch.no_grad()
def _masked(
    method: Method, model: MultimodalModel, split: Split, absent: Inputs, missing: set[str], chunk: int
) -> Tensor:
    found = []
    for index in _chunks(split, chunk):
        inputs = split.batch(index).inputs
        for m in missing:
            inputs.values[m] = absent.values[m].to(inputs.values[m]).expand_as(inputs.values[m])
            if m in inputs.lengths:
                inputs.lengths[m] = absent.lengths[m].to(inputs.lengths[m].device).expand(len(index))
        with method.fit.autocast():
            found.append(_predicted(method, model, inputs, len(index)).logits.float())
    return torch.cat(found)


def _floats(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {m: t.float() for m, t in tensors.items()}


def _join(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {m: torch.cat([row[m] for row in rows]) for m in rows[0]}
