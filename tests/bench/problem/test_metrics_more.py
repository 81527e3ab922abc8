"""Metrics by which classes, labels and scores are ranked or counted: by hand, by torchmetrics, and where undefined."""

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.problem import class_metrics, label_metrics
from mcr_bench.bench.problem.curves import mean_area, mean_average_precision
from mcr_bench.bench.problem.metrics import kind_of, named_metrics, score
from mcr_bench.bench.task import Task

LABELS, SCORES, SENTIMENT = Task(None, labels=3), Task(None, scores=2), Task(None, sentiment=3)


@pytest.fixture(scope="module")
def torchmetrics() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("torchmetrics.functional.classification")


def drawn(classes: int, n: int = 120, seed: int = 0, ties: bool = False) -> tuple[Tensor, Tensor]:
    """Logits of classes, rounded to two values per unit if `ties`, and a target that they know something of."""
    draws = torch.Generator().manual_seed(seed)
    target = torch.randint(classes, (n,), generator=draws)
    logits = torch.randn(n, classes, generator=draws, dtype=torch.float64) + torch.eye(classes)[target]
    return ((2 * logits).round() / 2 if ties else logits), target


def labelled(labels: int, n: int = 120, seed: int = 0, ties: bool = False) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(seed)
    target = (torch.rand(n, labels, generator=draws) < torch.linspace(0.05, 0.6, labels)).long()
    logits = torch.randn(n, labels, generator=draws, dtype=torch.float64) + 2 * target - 1
    return ((2 * logits).round() / 2 if ties else logits), target


@pytest.mark.parametrize("ties", [False, True], ids=["different", "ties"])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_classes_agree_with_torchmetrics(torchmetrics: Any, classes: int, ties: bool) -> None:
    logits, target = drawn(classes, ties=ties, seed=classes)
    found, p = score(logits, target, Task(classes)), logits.softmax(1)
    wanted = {
        "accuracy": torchmetrics.multiclass_accuracy(p, target, classes, average="micro"),
        "balanced_accuracy": torchmetrics.multiclass_accuracy(p, target, classes, average="macro"),
        "macro_f1": torchmetrics.multiclass_f1_score(p, target, classes, average="macro"),
        "weighted_f1": torchmetrics.multiclass_f1_score(p, target, classes, average="weighted"),
        "auroc": torchmetrics.multiclass_auroc(p, target, classes),
        "map": torchmetrics.multiclass_average_precision(p, target, classes),
    }
    rounding = 2e-4 if ties and classes > 2 else 1e-6  # equal probabilities may differ in the last digit of either
    expected = {name: float(value) for name, value in wanted.items()}
    assert {name: found[name] for name in wanted} == pytest.approx(expected, abs=rounding)


@pytest.mark.parametrize("ties", [False, True], ids=["different", "ties"])
@pytest.mark.parametrize("labels", [2, 5])
def test_labels_agree_with_torchmetrics(torchmetrics: Any, labels: int, ties: bool) -> None:
    logits, target = labelled(labels, ties=ties, seed=labels)
    found, p = score(logits, target, Task(None, labels=labels)), logits.sigmoid()
    wanted = {
        "subset_accuracy": torchmetrics.multilabel_exact_match(p, target, labels),
        "hamming_accuracy": 1 - torchmetrics.multilabel_hamming_distance(p, target, labels, average="micro"),
        "micro_f1": torchmetrics.multilabel_f1_score(p, target, labels, average="micro"),
        "macro_f1": torchmetrics.multilabel_f1_score(p, target, labels, average="macro"),
        "weighted_f1": torchmetrics.multilabel_f1_score(p, target, labels, average="weighted"),
        "auroc": torchmetrics.multilabel_auroc(p, target, labels),
        "map": torchmetrics.multilabel_average_precision(p, target, labels),
    }
    assert {name: found[name] for name in wanted} == pytest.approx({n: float(v) for n, v in wanted.items()}, abs=1e-6)


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    for seed in range(4):
        logits, target = labelled(1, n=30, seed=seed, ties=bool(seed % 2))
        high, low = logits[target == 1].tolist(), logits[target == 0].tolist()
        if not high or not low:
            continue
        pairs = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(high, low)]
        assert mean_area(logits, target == 1) == pytest.approx(np.mean(pairs), abs=1e-12)


def test_average_precision_by_hand() -> None:
    """Positives at ranks 1 and 3 of five; then two of equal scores at ranks 2 and 3, one of them positive."""
    scores = torch.tensor([[5.0], [4.0], [3.0], [2.0], [1.0]])
    positive = torch.tensor([[True], [False], [True], [False], [False]])
    assert mean_average_precision(scores, positive) == pytest.approx((1 + 2 / 3) / 2)
    tied = torch.tensor([[5.0], [3.0], [3.0], [2.0], [1.0]])
    assert mean_average_precision(tied, positive) == pytest.approx((1 + 2 / 3) / 2)
    assert mean_average_precision(-scores, positive) == pytest.approx((1 / 3 + 2 / 5) / 2)


def test_many_columns_are_ranked_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, target = labelled(9, n=50)
    whole = mean_area(logits, target == 1), mean_average_precision(logits, target == 1)
    monkeypatch.setattr("mcr_bench.bench.problem.curves.LARGEST", 120)
    assert (mean_area(logits, target == 1), mean_average_precision(logits, target == 1)) == pytest.approx(whole)


def test_probabilities_that_round_to_zero_or_one_are_still_ranked() -> None:
    two = torch.tensor([[100.0, 0.0], [200.0, 0.0], [50.0, 0.0]])
    assert class_metrics.auroc(two, torch.tensor([0, 0, 1])) == 1
    three = torch.tensor([[2000.0, 0.0, 0.0], [3000.0, 0.0, 0.0], [1000.0, 0.0, 0.0]])
    assert class_metrics.auroc(three, torch.tensor([2, 2, 1])) == 0.5  # the same scores for classes 1 and 2


def test_counts_by_hand() -> None:
    target = torch.tensor([0, 0, 0, 1, 1, 2])
    logits = 3 * torch.eye(4)[[0, 0, 1, 1, 3, 2]]
    assert class_metrics.balanced_accuracy(logits, target) == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    f1 = (2 * 2 / (3 + 2), 2 * 1 / (2 + 2), 1.0)
    assert class_metrics.weighted_f1(logits, target) == pytest.approx((3 * f1[0] + 2 * f1[1] + f1[2]) / 6)


def test_labels_by_hand() -> None:
    right = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 0]])
    logits = torch.tensor([[2.0, -1.0, -1.0], [1.0, -2.0, -1.0], [-1.0, 3.0, -1.0]])  # 1 0 0, 1 0 0, 0 1 0
    found = score(logits, right, LABELS)
    assert found["subset_accuracy"] == pytest.approx(1 / 3)
    assert found["hamming_accuracy"] == pytest.approx(7 / 9)
    assert found["micro_f1"] == pytest.approx(2 * 2 / (3 + 3))
    assert found["macro_f1"] == pytest.approx((1 + 0) / 2)  # label 2 is neither true nor predicted
    assert found["weighted_f1"] == pytest.approx(2 * 1 / 3)


def test_absent_classes_do_not_count() -> None:
    logits, target = drawn(3)
    with_absent = torch.cat([logits, torch.full((len(logits), 1), -50.0)], 1)
    found = score(with_absent, target, Task(4))
    wanted = score(logits, target, Task(3))
    for name in ("balanced_accuracy", "auroc", "map", "weighted_f1"):
        assert found[name] == pytest.approx(wanted[name], abs=1e-9)


@pytest.mark.parametrize("name", ["auroc", "map"])
def test_one_class_cannot_be_ranked(name: str) -> None:
    logits, _ = drawn(3)
    target = torch.full((len(logits),), 2)
    missing: dict[str, str] = {}
    found = score(logits, target, Task(3), ("loss",), missing)
    assert name not in found
    assert "all positive or all negative" in missing[name]
    assert found["balanced_accuracy"] == found["accuracy"]
    with pytest.raises(UserError, match=f"{name} is not defined on the validation part.*--set monitor"):
        score(logits, target, Task(3), (name,), {})


def test_labels_that_nobody_has_are_missing_not_nan() -> None:
    logits, target = torch.full((4, 3), -1.0), torch.zeros(4, 3)
    missing: dict[str, str] = {}
    found = score(logits, target, LABELS, ("loss",), missing)
    assert set(missing) == {"micro_f1", "macro_f1", "weighted_f1", "auroc", "map"}
    assert found["subset_accuracy"] == found["hamming_accuracy"] == 1
    assert score(-logits, target, LABELS, ("loss",), {})["micro_f1"] == 0


def test_curves_hold_what_selects_and_what_is_cheap() -> None:
    logits, target = drawn(3)
    every = score(logits, target, Task(3))
    points = score(logits, target, Task(3), ("loss", "auroc"), {}, curve=True)
    assert points.keys() == every.keys() - {"balanced_accuracy", "weighted_f1", "map"}
    assert all(every[name] == value for name, value in points.items())


def test_nan_is_not_ranked() -> None:
    with pytest.raises(UserError, match="nan"):
        label_metrics.auroc(torch.tensor([[float("nan")], [1.0]]), torch.tensor([[0], [1]]))


def test_several_scores_are_averaged() -> None:
    draws = np.random.default_rng(0)
    outputs, target = draws.normal(size=(20, 2)), draws.normal(size=(20, 2))
    found = score(torch.from_numpy(outputs), torch.from_numpy(target), SCORES)
    each = [scipy.stats.pearsonr(outputs[:, k], target[:, k]).statistic for k in range(2)]
    assert found["pearson"] == pytest.approx(np.mean(each))
    assert found["mae"] == pytest.approx(np.abs(outputs - target).mean())
    assert set(found) == {"mae", "pearson", "loss"}  # signs mean nothing where scores are not sentiments


def test_sentiment_is_rounded_after_it_is_cut() -> None:
    """By hand: 2.5 and -0.5 round to even numbers, 7 is cut to 3 (or 2), so is 3 to 2."""
    outputs = torch.tensor([[7.0], [2.5], [-0.5], [0.6], [-1.2]])
    target = torch.tensor([2.8, 2.4, 0.2, 0.4, -3.0])
    found = score(outputs, target, SENTIMENT)
    assert found["acc7"] == pytest.approx(3 / 5)  # 3 = 3, 2 = 2, 0 = 0, 1 != 0, -1 != -3
    assert found["acc5"] == pytest.approx(3 / 5)
    assert score(torch.tensor([[2.6], [-2.2]]), torch.tensor([2.0, -3.0]), SENTIMENT)["acc5"] == 1
    assert "acc7" not in score(outputs, target, Task(None))


def test_sentiment_of_a_narrow_scale_falls_into_intervals() -> None:
    """By hand: -.1 and 0 lie in the interval below them, as upper bounds do, and so are not positive."""
    outputs = torch.tensor([[-0.1], [0.0], [0.4], [2.0], [-0.05]])
    target = torch.tensor([-0.5, 0.1, 0.7, 0.8, 0.0])
    found = score(outputs, target, Task(None, sentiment=1))
    assert found["sims_acc2"] == pytest.approx(4 / 5)  # 0 is not positive, 0.1 is
    assert found["sims_acc3"] == pytest.approx(5 / 5)
    assert found["sims_acc5"] == pytest.approx(5 / 5)
    assert found["sims_f1"] == pytest.approx(
        3 / 5 * 4 / 5 + 2 / 5 * 4 / 5
    )  # of 3 positive targets 2 hits, no false one
    assert "acc7" not in found
    assert "sims_acc3" not in score(outputs, target, SENTIMENT)


def test_sentiment_of_a_narrow_scale_as_numpy_counts_it() -> None:
    draws = np.random.default_rng(4)
    outputs, target = draws.normal(size=300).astype("float32"), draws.choice(np.arange(-10, 11) / 10, 300)
    found = score(torch.from_numpy(outputs)[:, None], torch.from_numpy(target), Task(None, sentiment=1))
    stored = torch.from_numpy(target.astype("float32")).double()  # as labels of a file in float32 are given
    assert score(torch.from_numpy(outputs)[:, None], stored, Task(None, sentiment=1))["sims_acc5"] == found["sims_acc5"]
    for name, bounds in (("acc2", [0]), ("acc3", [-0.1, 0.1]), ("acc5", [-0.7, -0.1, 0.1, 0.7])):
        mine, theirs = (np.digitize(x.astype("float64").round(7), bounds, right=True) for x in (outputs, target))
        assert found[f"sims_{name}"] == pytest.approx((mine == theirs).mean())


@pytest.mark.parametrize("scale", [True, 2])
def test_another_scale_of_sentiment_is_refused(scale: int) -> None:
    with pytest.raises(ValueError, match="sentiment is the largest score of a scale: 3 or 1, or 0"):
        Task(None, sentiment=scale)


def test_sentiment_as_numpy_computes_it() -> None:
    draws = np.random.default_rng(3)
    outputs, target = draws.normal(size=200) * 2, draws.uniform(-3, 3, 200)
    found = score(torch.from_numpy(outputs)[:, None], torch.from_numpy(target), SENTIMENT)
    for name, bound in (("acc7", 3.0), ("acc5", 2.0)):
        mine, theirs = (np.round(np.clip(x, -bound, bound)) for x in (outputs, target))
        assert found[name] == pytest.approx((mine == theirs).mean())


def test_the_kind_of_a_run_follows_from_its_metrics() -> None:
    for task in (Task(2), LABELS, Task(None), SCORES, SENTIMENT):
        names = [m.name for m in named_metrics(task)]
        assert (kind_of(names).regression, kind_of(names).multi_label) == (task.regression, task.multi_label)
