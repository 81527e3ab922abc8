"""The accuracy that the MCR paper reports on MOSI and MOSEI: its rule on arrays, and ours beside its numbers."""

import numpy as np
import pytest
import torch

from mcr_bench.bench.analysis.published import published_tables_of
from mcr_bench.bench.analysis.published_match import Runs, answers
from mcr_bench.bench.problem.score_metrics import binary_accuracy, binary_accuracy_nonzero
from mcr_bench.tests.support.records.published_paper import run

COLUMNS = {
    "MOSI V-T": ("mosi", "paper-vt", "text,video"),
    "MOSI V-T-A": ("mosi", "paper-vta", "text,audio,video"),
    "MOSEI V-T": ("mosei", "paper-vt", "text,video"),
    "MOSEI V-T-A": ("mosei", "paper-vta", "text,audio,video"),
}


def released(scores: list[float], targets: list[float]) -> float:
    """Among the segments whose target is not zero: is the score positive exactly where the target is?"""
    judged = [(score > 0) == (target > 0) for score, target in zip(scores, targets, strict=True) if target != 0]
    return sum(judged) / len(judged)


@pytest.mark.parametrize(
    ("scores", "targets", "expected", "with_zeros"),
    [
        ([0.0, 0.0], [2.0, -2.0], 1 / 2, 1 / 2),  # 0 is no positive score, but a non-negative one
        ([-0.0, 1e-7, -1e-7], [0.4, 0.4, 0.4], 1 / 3, 2 / 3),
        ([3.0, -3.0, 0.2, -0.2], [0.0, 0.0, 1.0, 1.0], 1 / 2, 2 / 4),
        ([5.0, -0.1, 2.0], [0.0, -0.2, -3.0], 1 / 2, 2 / 3),
    ],
)
def test_by_hand(scores: list[float], targets: list[float], expected: float, with_zeros: float) -> None:
    outputs, target = torch.tensor(scores)[:, None], torch.tensor(targets)
    assert released(scores, targets) == expected
    assert binary_accuracy_nonzero(outputs, target) == pytest.approx(expected)
    assert binary_accuracy(outputs, target) == pytest.approx(with_zeros)


@pytest.mark.parametrize("seed", range(4))
def test_against_the_rule_on_scores_with_many_zeros(seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.integers(-9, 10, 120) / 3 * (rng.random(120) > 0.3)
    scores = np.round(targets + rng.normal(size=120) * 2)
    found = binary_accuracy_nonzero(torch.tensor(scores)[:, None], torch.tensor(targets))
    assert found == pytest.approx(released(scores.tolist(), targets.tolist()))


@pytest.mark.parametrize("column", COLUMNS)
def test_our_runs_stand_beside_the_published_number_with_it(column: str) -> None:
    dataset, preset, modalities = COLUMNS[column]
    table = next(t for t in published_tables_of() if t.title.startswith("MCR"))
    both = {"test/binary_accuracy": 0.5, "test/binary_accuracy_nonzero": 0.75}
    place = {"dataset": dataset, "preset": preset, "protocol": "standard", "modalities": modalities}
    rows = [run(0, seed, "joint", metrics=both, **place) for seed in (109, 19, 337)]
    answer = answers(table, Runs(rows), 2.0)["Joint Training", column]
    assert answer.values == (75.0, 75.0, 75.0)
    assert answer.word not in ("not comparable", "not run", "not offered")
    older = [run(0, seed, "joint", metrics={"test/binary_accuracy": 0.5}, **place) for seed in (109, 19, 337)]
    answer = answers(table, Runs(older), 2.0)["Joint Training", column]
    assert (answer.word, answer.reasons) == ("not comparable", ("our runs record no binary_accuracy_nonzero",))
