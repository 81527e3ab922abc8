"""Metrics of logits against targets in the user's unit; selection and tables read the direction of each."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from math import nan
from typing import TYPE_CHECKING

from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.problem.missing import diagnostic
from mcr_bench.bench.task import Task

if TYPE_CHECKING:  # commands that print tables ask for names and directions, and torch takes seconds to import
    from torch import Tensor

Compute = Callable[["Tensor", "Tensor"], float]
TOTAL_LOSS = "total_loss"  # not a `Metric`, because it needs the logits of the own heads too: `evaluate` adds it


@dataclass(frozen=True)
class Metric:
    """A metric of predictions.

    name: its name in settings, the record and tables.
    higher_is_better: its direction.
    compute: (logits, target) in the shapes of the task, without nan -> value; it raises UserError where the metric is
        not defined.
    share: whether it is a share of 1, so that differences are reported in percentage points.
    at_end: whether it is left out of curves unless it selects the epoch, so that short epochs stay cheap.
    """

    name: str
    higher_is_better: bool
    compute: Compute
    share: bool = False
    at_end: bool = False

    def of(self, logits: "Tensor", target: "Tensor") -> float:
        """Its value; nan where a prediction is nan, which no comparison would tell from a class or a sign."""
        return nan if logits.isnan().any() else self.compute(logits, target)


def _of(module: str, function: str, *settings: object) -> Compute:
    """A function of a module of this room, which is imported when the function is first called.

    settings: where there are some, the function of the module takes them and returns the metric.
    """

    def compute(logits: "Tensor", target: "Tensor") -> float:
        called = getattr(import_module(f"mcr_bench.bench.problem.{module}"), function)
        return float((called(*settings) if settings else called)(logits, target))

    return compute


_of_classes = partial(_of, "class_metrics")
_of_labels = partial(_of, "label_metrics")
_of_scores = partial(_of, "score_metrics")
CLASSIFICATION = (
    Metric("accuracy", True, _of_classes("accuracy"), share=True),
    Metric("balanced_accuracy", True, _of_classes("balanced_accuracy"), share=True, at_end=True),
    Metric("macro_f1", True, _of_classes("macro_f1"), share=True),
    Metric("weighted_f1", True, _of_classes("weighted_f1"), share=True, at_end=True),
    Metric("auroc", True, _of_classes("auroc"), share=True, at_end=True),
    Metric("map", True, _of_classes("average_precision"), share=True, at_end=True),
    Metric("ece", False, _of_classes("expected_calibration_error"), share=True),
)
MULTI_LABEL = (
    Metric("subset_accuracy", True, _of_labels("subset_accuracy"), share=True),
    Metric("hamming_accuracy", True, _of_labels("hamming_accuracy"), share=True),
    Metric("micro_f1", True, _of_labels("micro_f1"), share=True),
    Metric("macro_f1", True, _of_labels("macro_f1"), share=True),
    Metric("weighted_f1", True, _of_labels("weighted_f1"), share=True, at_end=True),
    Metric("auroc", True, _of_labels("auroc"), share=True, at_end=True),
    Metric("map", True, _of_labels("average_precision"), share=True, at_end=True),
)
SCORES = (Metric("mae", False, _of_scores("mean_absolute_error")), Metric("pearson", True, _of_scores("pearson")))
REGRESSION = (
    *SCORES,
    Metric("binary_accuracy", True, _of_scores("binary_accuracy"), share=True),
    Metric("binary_accuracy_nonzero", True, _of_scores("binary_accuracy_nonzero"), share=True),
)
SENTIMENT = {  # largest score -> the metrics that its scale has beside those of every score
    3: (
        Metric("acc7", True, _of_scores("accuracy_within", 3), share=True),
        Metric("acc5", True, _of_scores("accuracy_within", 2), share=True),
    ),
    1: (
        Metric("sims_acc2", True, _of_scores("accuracy_in", (0.0,)), share=True),
        Metric("sims_acc3", True, _of_scores("accuracy_in", (-0.1, 0.1)), share=True),
        Metric("sims_acc5", True, _of_scores("accuracy_in", (-0.7, -0.1, 0.1, 0.7)), share=True),
        Metric("sims_f1", True, _of_scores("weighted_f1_in", (0.0,)), share=True),
    ),
}
ALL = (*CLASSIFICATION, *MULTI_LABEL, *REGRESSION, *(metric for scale in SENTIMENT.values() for metric in scale))
LOWER_IS_BETTER = {"loss", TOTAL_LOSS} | {m.name for m in ALL if not m.higher_is_better}
SHARES = {m.name for m in ALL if m.share}


def named_metrics(task: Task) -> tuple[Metric, ...]:
    """The metrics of a task without the loss. The first describes modalities, contributions and single samples."""
    if not task.regression:
        return MULTI_LABEL if task.multi_label else CLASSIFICATION
    if task.scores is not None:
        return SCORES
    return (*REGRESSION, *SENTIMENT.get(task.sentiment, ()))


def kind_of(logged: Collection[str]) -> Task:
    """A task of the kind that has logged these metrics; of classes if none of them tells.

    >>> kind_of(["mae", "pearson"]).regression, kind_of(["accuracy"]).classes is None
    (True, False)
    """
    kinds = (Task(None), Task(None, labels=2))
    return next((task for task in kinds if named_metrics(task)[0].name in logged), Task(2))


def metrics_of(task: Task) -> tuple[Metric, ...]:
    """The metrics of a task, the training loss last.

    All take values in the user's unit; the loss converts them to the unit that is learned.
    """
    return (*named_metrics(task), Metric("loss", False, lambda logits, target: _loss(task, logits, target)))


def profit_metrics(task: Task) -> tuple[Metric, ...]:
    """The metrics in which a modality's profit is given: the task's first, and Pearson's correlation of a regression.

    >>> [metric.name for metric in profit_metrics(Task(None))]
    ['mae', 'pearson']
    """
    first, *others = metrics_of(task)
    return (first, *(metric for metric in others if metric.name == "pearson"))


def subset_metric(subset: Iterable[str], metric: str) -> str:
    """The record's name of a metric of the predictions from these modalities alone.

    MLflow takes no `+` in a name. A modality's own may hold `_` and `-`, but no point.

    >>> subset_metric(("audio", "text"), "accuracy")
    'subset/audio.text/accuracy'
    """
    return f"subset/{'.'.join(subset)}/{metric}"


def _loss(task: Task, logits: "Tensor", target: "Tensor") -> float:
    return float(task.loss(task.learned(logits), task.learned(target)))


def _needed(name: str, compute: Callable[[], float]) -> float:
    """The value of a metric that the training cannot do without; UserError with the remedy if it is not defined."""
    try:
        return compute()
    except UserError as error:
        raise UserError(
            f"{name} is not defined on the validation part: {error}. Choose another metric that selects the epoch: "
            "--set monitor=..."
        ) from error


def higher_is_better(monitor: str, task: Task) -> bool:
    """Whether higher values of what selects the epoch are better: of a metric of the task, or of `total_loss`.

    UserError for any other name.
    """
    directions = {m.name: m.higher_is_better for m in metrics_of(task)} | {TOTAL_LOSS: False}
    if monitor not in directions:
        raise unknown("metric", monitor, directions)
    return directions[monitor]


def metric(name: str, task: Task) -> Metric:
    """The metric of the task with this name; UserError for any other name."""
    by_name = {m.name: m for m in metrics_of(task)}
    if name not in by_name:
        raise unknown("metric", name, by_name)
    return by_name[name]


def score(
    logits: "Tensor",
    target: "Tensor",
    task: Task,
    needed: Collection[str] = (),
    missing: dict[str, str] | None = None,
    curve: bool = False,
) -> dict[str, float]:
    """Name -> value of every metric of the task; logits and target in its shapes, see `Task`.

    curve: whether the values are a point of a curve, without the metrics that are `at_end` and not `needed`.

    If `missing` is given, a metric that fails is left out and its reason is added there, except for those that are
    `needed`: their errors are raised.
    """
    values, whole = {}, not logits.isnan().any()  # asked once: on a GPU the answer is waited for
    for metric in metrics_of(task):
        if curve and metric.at_end and metric.name not in needed:
            continue
        compute = partial(metric.compute, logits, target) if whole else lambda: nan
        if missing is None or metric.name in needed:
            values[metric.name] = _needed(metric.name, compute)
        elif (value := diagnostic(missing, metric.name, compute)) is not None:
            values[metric.name] = value
    return values
