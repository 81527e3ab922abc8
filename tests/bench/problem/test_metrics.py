"""Metrics and losses against hand-made numbers, loops and scipy."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.problem import class_metrics, metrics, score_metrics
from mcr_bench.bench.task import Task

CLASSES, REGRESSION = Task(4), Task(None)


def logits_for(predicted: list[int], classes: int = 4) -> Tensor:
    return torch.eye(classes)[predicted] * 3


def column(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


def drawn(n: int = 200, classes: int = 4) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(3)
    return 2 * torch.randn(n, classes, generator=rng), torch.randint(classes, (n,), generator=rng)


def test_accuracy_by_hand() -> None:
    assert class_metrics.accuracy(logits_for([0, 1, 2, 3, 0]), torch.tensor([0, 1, 2, 0, 3])) == 3 / 5


def test_macro_f1_by_hand() -> None:
    predicted, target = [0, 0, 0, 1, 1, 2], torch.tensor([0, 0, 1, 1, 2, 1])
    # class 0: TP 2 FP 1 FN 0 -> 4/5; class 1: TP 1 FP 1 FN 2 -> 2/5; class 2: TP 0 FP 1 FN 1 -> 0; class 3 is nowhere
    assert class_metrics.macro_f1(logits_for(predicted), target) == pytest.approx((4 / 5 + 2 / 5 + 0) / 3)


@pytest.mark.parametrize(("predicted", "target"), [([0, 0, 3], [0, 0, 0]), ([0, 0, 0], [0, 0, 3])])
def test_a_class_only_predicted_or_only_present_counts_as_zero(predicted: list[int], target: list[int]) -> None:
    assert class_metrics.macro_f1(logits_for(predicted), torch.tensor(target)) == pytest.approx((4 / 5 + 0) / 2)


def test_macro_f1_against_precision_and_recall() -> None:
    logits, target = drawn()
    predicted = logits.argmax(1)
    scores = []
    for c in range(4):
        hits = ((predicted == c) & (target == c)).sum().item()
        precision, recall = hits / (predicted == c).sum().item(), hits / (target == c).sum().item()
        scores.append(2 * precision * recall / (precision + recall))
    assert class_metrics.macro_f1(logits, target) == pytest.approx(np.mean(scores), abs=1e-12)


def test_calibration_error_by_hand() -> None:
    confidence = [0.61, 0.65, 0.95, 0.92]  # bins of 1/15: two in (.6, .667], one in (.933, 1], one in (.867, .933]
    logits = torch.tensor([[math.log(p), math.log(1 - p)] for p in confidence], dtype=torch.double)
    hits = torch.tensor([0, 1, 0, 1])  # right, wrong, right, wrong
    expected = (2 / 4) * abs(1 / 2 - (0.61 + 0.65) / 2) + (1 / 4) * abs(1 - 0.95) + (1 / 4) * abs(0 - 0.92)
    assert class_metrics.expected_calibration_error(logits, hits) == pytest.approx(expected, abs=1e-12)


def test_calibration_error_against_a_loop_over_bins() -> None:
    logits, target = drawn()
    probabilities = np.exp(logits.double().numpy())
    probabilities /= probabilities.sum(1, keepdims=True)
    top, right = probabilities.max(1), probabilities.argmax(1) == target.numpy()
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (top > low) & (top <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - top[inside].mean())
    assert class_metrics.expected_calibration_error(logits, target) == pytest.approx(expected, abs=1e-9)


def test_saturated_logits_are_calibrated_where_right() -> None:
    logits = torch.tensor([[1e6, 0.0], [0.0, 1e6]])
    assert class_metrics.expected_calibration_error(logits, torch.tensor([0, 1])) == 0.0
    assert class_metrics.expected_calibration_error(logits, torch.tensor([1, 0])) == 1.0


def test_mean_absolute_error_by_hand() -> None:
    assert score_metrics.mean_absolute_error(column(1.0, -2.0, 0.5), torch.tensor([0.0, 1.0, 0.5])) == pytest.approx(
        4 / 3
    )


def test_pearson_is_scipy_s() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=50), rng.normal(size=50)
    y += x
    result = score_metrics.pearson(torch.tensor(x)[:, None], torch.tensor(y))
    assert result == pytest.approx(scipy.stats.pearsonr(x, y).statistic, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [1, 3, 7, 10])
def test_a_constant_prediction_correlates_with_nothing(n: int, dtype: torch.dtype) -> None:
    ramp, constant = torch.arange(n, dtype=dtype), torch.full((n,), 0.1, dtype=dtype)
    assert score_metrics.pearson(constant[:, None], ramp) == 0.0
    assert score_metrics.pearson(ramp[:, None], constant) == 0.0


def test_both_binary_accuracies_by_hand() -> None:
    outputs, target = column(0.5, -0.5, 0.0, -0.1, 2.0, 0.0), torch.tensor([1.0, -1.0, 0.0, 0.0, -2.0, 3.0])
    # non-negative or not: right, right, right, wrong, wrong, right
    assert score_metrics.binary_accuracy(outputs, target) == pytest.approx(4 / 6)
    # the two zeros are left out; 0 is no positive answer: right, right, wrong, wrong
    assert score_metrics.binary_accuracy_nonzero(outputs, target) == pytest.approx(2 / 4)
    with pytest.raises(UserError, match="every target is 0"):
        score_metrics.binary_accuracy_nonzero(column(1.0), torch.tensor([0.0]))


def test_every_metric_knows_its_direction() -> None:
    tasks = (CLASSES, REGRESSION, Task(None, labels=2), Task(None, scores=2), Task(None, sentiment=3))
    up = {m.name: m.higher_is_better for task in tasks for m in metrics.metrics_of(task)}
    assert {name for name, higher in up.items() if not higher} == {"ece", "mae", "loss"}
    assert set(metrics.LOWER_IS_BETTER) == {"ece", "mae", "loss", "total_loss"}
    assert up.keys() - metrics.SHARES == {"mae", "pearson", "loss"}


@pytest.mark.parametrize(("task", "name"), [(CLASSES, "mae"), (REGRESSION, "accuracy"), (CLASSES, "acuracy")])
def test_a_metric_of_another_task_is_an_error(task: Task, name: str) -> None:
    with pytest.raises(UserError, match=f"unknown metric '{name}'"):
        metrics.metric(name, task)


def test_score_holds_every_metric_with_the_training_loss() -> None:
    logits, target = drawn()
    result = metrics.score(logits, target, CLASSES)
    probabilities = torch.softmax(logits.double(), 1)[torch.arange(len(target)), target]
    shares = ["accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "auroc", "map", "ece"]
    assert list(result) == [*shares, "loss"]
    assert result["loss"] == pytest.approx(-probabilities.log().mean().item(), abs=1e-6)
    outputs, scores = column(1.0, 3.0), torch.tensor([0.0, 1.0])
    assert metrics.score(outputs, scores, REGRESSION)["loss"] == pytest.approx(1.5)


def test_probabilities_are_averaged_not_logits() -> None:
    one = torch.tensor([[math.log(0.9), math.log(0.1)]])
    two = torch.tensor([[math.log(0.2), math.log(0.8)]]) + 5  # logits are defined up to a constant
    mean = Task(2).combine([one, two], "probabilities").exp()
    torch.testing.assert_close(mean, torch.tensor([[0.55, 0.45]]))
    torch.testing.assert_close(Task(2).combine([one, two], "logits"), (one + two) / 2)
    scores = [column(1.0, 2.0), column(3.0, -2.0)]
    torch.testing.assert_close(REGRESSION.combine(scores, "probabilities"), column(2.0, 0.0))


def test_saturated_members_keep_a_finite_mean() -> None:
    members = [torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]])]
    torch.testing.assert_close(Task(2).combine(members, "probabilities").exp(), torch.tensor([[0.5, 0.5]]))


def test_a_regression_has_one_output() -> None:
    assert (REGRESSION.regression, REGRESSION.outputs) == (True, 1)
    assert (CLASSES.regression, CLASSES.outputs) == (False, 4)
