"""A class token's attention by its formula, sample by sample, from the weights of the head alone."""

import math

import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.models.fusions.class_token import ClassToken
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, THREE, make_fit
from mcr_bench.methods.base import Method

PAIR = NAMES[:2]


def started(method: Method, task: Task = THREE, lr: float = 0.0, **training: object) -> Fit:
    """A fit whose head has no dropout; with a learning rate of 0 its weights stay."""
    options = {"optimizer__name": "sgd", "optimizer__momentum": 0.0, "optimizer__weight_decay": 0.0, "batch_size": 7}
    fit = make_fit(method, task=task, fusion="", dtype=torch.float64, **{**options, "optimizer__lr": lr, **training})
    head_of(fit).drop.p = 0.0
    return fit


def head_of(fit: Fit) -> ClassToken:
    head = fit.model.fusion
    assert isinstance(head, ClassToken)
    return head


def tokens_of(fit: Fit, modality: str, values: Tensor) -> list[Tensor]:
    """The real tokens (T, d) of each sample."""
    tokens, mask = fit.model.encoders[modality].tokens(values, None)  # type: ignore[operator]
    return [x[real] for x, real in zip(tokens, mask, strict=True)]


def keys_of(fit: Fit, modality: str, values: Tensor) -> list[Tensor]:
    key = head_of(fit).key
    return [x @ key.weight.T + key.bias for x in tokens_of(fit, modality, values)]


def query_of(fit: Fit, rotation: Tensor) -> Tensor:
    head = head_of(fit)
    return rotation @ (head.query.weight @ head.token + head.query.bias)


def cosine(a: Tensor, b: Tensor) -> float:
    return float((a @ b / (a @ a).sqrt() / (b @ b).sqrt()).detach())


def imbalances(fit: Fit, rotation: Tensor, values: dict[str, Tensor]) -> list[float]:
    """cos(q, mean key of the first) - cos(q, that of the second) of every sample."""
    query = query_of(fit, rotation)
    first, second = ([cosine(query, k.mean(0)) for k in keys_of(fit, m, values[m])] for m in PAIR)
    return [a - b for a, b in zip(first, second, strict=True)]


def anchor_of(fit: Fit, air: float, sigma: float) -> Tensor:
    """Of the mean keys of all training samples; not of length 1."""
    values = values_of(fit)
    units, alpha = [], (1 + math.tanh(-sigma * air)) / 2
    for m in PAIR:
        mean = torch.stack([k.mean(0) for k in keys_of(fit, m, values[m])]).mean(0)
        units.append(mean / (mean @ mean).sqrt())
    return alpha * units[0] + (1 - alpha) * units[1]


def logits_of(fit: Fit, rotation: Tensor, values: dict[str, Tensor]) -> Tensor:
    head, query, rows = head_of(fit), query_of(fit, rotation), []
    for i in range(len(values[PAIR[0]])):
        every = torch.cat([head.token[None], *(tokens_of(fit, m, values[m][i : i + 1])[0] for m in PAIR)])
        keys, seen = every @ head.key.weight.T + head.key.bias, every @ head.value.weight.T + head.value.bias
        weights = torch.stack([(query @ k / math.sqrt(len(query))).exp() for k in keys])
        given = (weights[:, None] * seen).sum(0) / weights.sum()
        rows.append(head.output(head.out(given)))
    return torch.stack(rows)


def values_of(fit: Fit) -> dict[str, Tensor]:
    """The values of all training samples."""
    return {m: x for m, x in fit.train.values.items() if isinstance(x, Tensor)}
