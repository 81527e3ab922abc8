"""Diagnostics of a trained model: what its predictions say of its modalities. None is a reason for a run to fail."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from statistics import fmean

from torch import Tensor

from mcr_bench.bench.fit.evaluated import Evaluation
from mcr_bench.bench.fit.moved import PER_GRADIENT, RATIO
from mcr_bench.bench.models.multimodal import Inputs
from mcr_bench.bench.problem.metrics import profit_metrics, subset_metric
from mcr_bench.bench.problem.missing import diagnostic
from mcr_bench.bench.problem.oracle import oracle
from mcr_bench.bench.task import Task
from mcr_bench.bench.training.after.disturbed import deviations, disturbed, disturbed_metrics
from mcr_bench.bench.training.evaluation import contributions, subset_logits
from mcr_bench.bench.training.subsets import Subsets
from mcr_bench.datasets.base import Split
from mcr_bench.methods.base import Method

WHOLE_RUN = (f"{RATIO}/", f"{PER_GRADIENT}/", "gradient_norm/", "coefficient/")  # curves with a mean over the run
Logits = dict[tuple[str, ...], Tensor]


def subset_predictions(
    method: Method, split: Split, absent: Inputs | None, chunk: int, also: Subsets | None, missing: dict[str, str]
) -> Logits:
    """Subset -> predictions (N, C) from it, without those that are not finite; empty where they cannot be computed.

    absent: the inputs that replace an absent modality. also: the predictions that were made while the part was
    evaluated. missing: what is missing of the part, `subset` or `subset/A+B`.
    """
    if absent is None:
        missing["subset"] = "the mean training input, which replaces an absent modality, is missing"
        return {}
    work = partial(subset_logits, method, method.fit.model, split, absent, chunk, also)
    predictions = diagnostic(missing, "subset", work) or {}
    for subset in [s for s, logits in predictions.items() if not logits.isfinite().all()]:
        missing[f"subset/{'+'.join(subset)}"] = "its logits are not finite"
        del predictions[subset]
    return predictions


def shares(evaluation: Evaluation, subsets: Logits, task: Task, missing: dict[str, str]) -> dict[str, float]:
    """`contribution/MODALITY` by the task's first metric, and `contribution_METRIC/MODALITY` by others.

    They are left out where a prediction is missing that they would be computed from.
    """
    first, *others = profit_metrics(task)
    names = {"contribution": first} | {f"contribution_{metric.name}": metric for metric in others}
    metrics: dict[str, float] = {}
    if any(other.startswith("subset") for other in missing):
        return metrics | _lost(names, "a prediction from a subset of the modalities is missing", missing)
    for name, worth in names.items():
        values = diagnostic(missing, name, partial(contributions, evaluation, subsets, task, worth)) or {}
        metrics |= {f"{name}/{m}": value for m, value in values.items()}
    return metrics


def of_predictions(
    evaluation: Evaluation, subsets: Logits, task: Task, present: Mapping[str, Tensor], missing: dict[str, str]
) -> dict[str, float]:
    """`subset/A.B/METRIC` of every proper subset but the empty one, and `oracle/METRIC` of fused and unimodal ones.

    present: modality -> (N,) bool, whether each sample has it; only of modalities that some samples lack.
    """
    metrics: dict[str, float] = {}
    for metric in profit_metrics(task):
        for subset, logits in subsets.items():
            name = subset_metric(subset, metric.name)
            value = diagnostic(missing, name, partial(metric.of, logits, evaluation.target)) if subset else None
            metrics |= {} if value is None else {name: value}
    alone = evaluation.modality_logits
    if lacking := [m for m in evaluation.features if m not in alone]:
        return metrics | _lost(["oracle"], f"the prediction from {', '.join(lacking)} alone is missing", missing)
    having = [present.get(m) for m in alone]
    work = partial(oracle, evaluation.logits, list(alone.values()), evaluation.target, task, having)
    best = diagnostic(missing, "oracle", work) or {}
    return metrics | {f"oracle/{name}": value for name, value in best.items()}


def of_disturbed(method: Method, split: Split, chunk: int, missing: dict[str, str]) -> dict[str, float]:
    """The metrics of predictions from noisy and exchanged inputs, see `disturbed_metrics`."""
    fit = method.fit
    known = diagnostic(missing, "noise", partial(deviations, fit.train, fit.seed, chunk)) or {}
    if lacking := [m for m in fit.model.modalities if m not in known and "noise" not in missing]:
        missing["noise"] = f"the inputs of {', '.join(lacking)} are not floating-point numbers"
    made = diagnostic(missing, "permuted", partial(disturbed, method, fit.model, split, known, chunk))
    if made is None:
        return _lost(["noise", "perceptual"], missing["permuted"], missing)
    return disturbed_metrics(made, fit.task, missing)


def run_means(epochs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """`mean_train/NAME`: the mean over the epochs of update ratios, gradient norms and coefficients.

    epochs: the metrics of each epoch.
    """
    names = {name.removeprefix("train/"): None for epoch in epochs for name in epoch if name.startswith("train/")}
    chosen = [name for name in names if name.startswith(WHOLE_RUN)]
    values = {name: [epoch[f"train/{name}"] for epoch in epochs if f"train/{name}" in epoch] for name in chosen}
    return {f"mean_train/{name}": fmean(curve) for name, curve in values.items()}


def _lost(names: Iterable[str], reason: str, missing: dict[str, str]) -> dict[str, float]:
    for name in names:
        missing.setdefault(name, reason)
    return {}
