"""The numbers of a run, computed again from its predictions and compared with those on record."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import isfinite

import torch

from mcr_bench.bench.fit.evaluated import Evaluation
from mcr_bench.bench.problem.absent import presence
from mcr_bench.bench.problem.metrics import named_metrics, score
from mcr_bench.bench.problem.missing import diagnostic
from mcr_bench.bench.publish.predicted import PARTS, Predicted, task_of
from mcr_bench.bench.publish.said import Said
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.task import Task
from mcr_bench.bench.training.after.diagnosis import Logits, of_predictions, shares

CLOSE = 1e-5  # relative to numbers above 1: sums over samples differ by rounding between devices
MOST = 5  # names of wrong numbers in one line
SIGNS = "binary_accuracy_nonzero"
Compute = Callable[[str, Predicted, Task, tuple[str, ...]], dict[str, float]]
CURVE = re.compile(r"(train|val|mean_train)/.*|best_epoch|epochs?|cost/.*|data/.*")


def number_checks(row: RunRow, parts: Mapping[str, Predicted]) -> Iterator[Said]:
    """What its predictions say of the numbers of a run: of all metrics of the test and the validation part."""
    known, earlier = _named(recomputed, row, parts), _named(_earlier, row, parts)
    known |= {name: value for name, value in earlier.items() if name in row.metrics and name not in known}
    sizes = {f"data/{part}_samples": float(len(predicted.ids)) for part, predicted in parts.items()}
    wrong = [
        name
        for name, value in (known | sizes).items()
        if not any(agree(one, row.metrics.get(name)) for one in (value, earlier.get(name, value)))
    ]
    if f"test/{row.metric}" not in known:
        yield Said("wrong", "numbers", row.name, f"test {row.metric} does not follow from its predictions")
    if wrong:
        told = [f"{name} is {row.metrics[name]:.6g} on record and {(known | sizes)[name]:.6g}" for name in wrong[:MOST]]
        more = f" ({len(wrong) - MOST} more)" if len(wrong) > MOST else ""
        yield Said("wrong", "numbers", row.name, f"{'; '.join(told)} by its predictions{more}", len(wrong))
    right = sum(name in row.metrics for name in known) - len(set(wrong) & known.keys())
    if right:
        yield Said("holds", "numbers", row.name, "follow from the predictions", right)
    if left := [n for n in row.metrics if n not in known and not CURVE.fullmatch(n) and not n.startswith("floor/")]:
        text = "numbers that need the weights or the training data: " + ", ".join(sorted({_head(n) for n in left}))
        yield Said("unproven", "numbers", row.name, text, len(left))


def recomputed(part: str, predicted: Predicted, task: Task, modalities: tuple[str, ...]) -> dict[str, float]:
    """Name without the part -> value, of every metric of a part that its predictions alone decide."""
    missing: dict[str, str] = {}
    values = score(predicted.logits, predicted.labels, task, missing=missing)
    for place, alone in (("modality", predicted.modality), ("split", predicted.split)):
        values |= _of_modalities(place, alone, predicted, task)
    every = _evaluation(predicted, modalities, values)
    values |= shares(every, predicted.subsets, task, missing)
    if part != "test":
        return values
    return values | of_predictions(every, predicted.subsets, task, predicted.present, missing)


def _earlier(part: str, predicted: Predicted, task: Task, modalities: tuple[str, ...]) -> dict[str, float]:
    """Name without the part -> value, of metrics that earlier versions computed otherwise, under keys that still count.

    Where every target is 0 the accuracy of signs was 0, the oracle took predictions from modalities that a sample
    lacks, and the modalities of a subset were joined by `_`.
    """
    signs = any(metric.name == SIGNS for metric in named_metrics(task))
    values = {SIGNS: 0.0} if signs and not predicted.labels.any() else dict[str, float]()
    names = {s: "_".join(s) for s in predicted.subsets if len(s) > 1}
    joined: Logits = {(name,): predicted.subsets[s] for s, name in names.items() if name not in modalities}
    if part != "test" or not (joined or predicted.present):
        return values
    return values | of_predictions(_evaluation(predicted, modalities, values), joined, task, {}, {})


def _named(compute: Compute, row: RunRow, parts: Mapping[str, Predicted]) -> dict[str, float]:
    """The record's name -> value, of all parts."""
    return {
        f"{PARTS[part]}/{name}": value
        for part, predicted in parts.items()
        for name, value in compute(part, predicted, task_of(row, predicted), row.modalities).items()
    }


def _evaluation(predicted: Predicted, modalities: tuple[str, ...], values: dict[str, float]) -> Evaluation:
    """The predictions as training has them, without features. values: the metrics that are known."""
    return Evaluation(
        predicted.logits,
        dict.fromkeys(modalities, torch.empty(len(predicted.ids), 0)),
        dict(predicted.modality),
        predicted.split or None,
        predicted.labels,
        values,
    )


def _of_modalities(place: str, alone: Mapping[str, torch.Tensor], predicted: Predicted, task: Task) -> dict[str, float]:
    """The first metric of each modality's predictions, over the samples that have it."""
    head, values = named_metrics(task)[0], dict[str, float]()
    for m, logits in alone.items():
        having = presence(predicted.present, m, len(logits))
        labels = predicted.own.get(m, predicted.labels) if place == "modality" else predicted.labels
        value = diagnostic({}, m, partial(head.of, logits[having], labels[having]))
        values |= {} if value is None else {f"{place}/{m}/{head.name}": value}
    return values


def agree(value: float, recorded: float | None) -> bool:
    """Whether a number on record is the one that was computed; one that is not on record claims nothing."""
    if recorded is None or not isfinite(value):
        return recorded is None or str(value) == str(recorded)
    return abs(value - recorded) <= CLOSE * max(1.0, abs(value))


def _head(name: str) -> str:
    """The kind of a metric, such as `test/noise`."""
    return "/".join(name.split("/")[:2])
