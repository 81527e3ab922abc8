"""The contrastive term of MCR in regression: who is a positive of whom, on constructed scores and on those of MOSI."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import make_fit
from mcr_bench.datasets.formats.csd import open_csd, read_labels
from mcr_bench.methods.terms.features.contrastive import nt_xent, score_bins
from mcr_bench.tests.support.runs.mcr_losses import REGRESSION, losses, mcr

REAL = Path(os.environ.get("MCR_BENCH_TEST_DATA", "missing")) / "mosi"
THIRD = 1 / 3


def positive_share(scores: torch.Tensor, modalities: int) -> float:
    """The share of positives among ordered pairs of vectors; that the term has just these is checked on its value.

    With equal features a positive pair costs log(1 + n), n being the number of the anchor's negatives.
    """
    labels = np.tile(scores.numpy(), modalities)
    same = labels[:, None] == labels
    pairs = same & ~np.eye(len(labels), dtype=bool)
    costs = np.log1p((~same).sum(1))[:, None] * pairs
    features = {str(m): torch.ones(len(scores), 3, dtype=torch.float64) for m in range(modalities)}
    assert nt_xent(features, scores, 0.5).item() == pytest.approx(costs.sum() / pairs.sum(), rel=1e-9)
    return float(pairs.sum()) / (len(labels) * (len(labels) - 1))


def contrastive(scores: list[float], **settings: str) -> float:
    """The term on features that do not depend on the scores."""
    method = mcr(lambda_con=1, **settings)
    fit = make_fit(method, task=REGRESSION, dtype=torch.float64)
    fit.train.target = torch.tensor(scores, dtype=torch.float64).repeat(24 // len(scores))
    return losses(method)["contrastive"].item()


def test_only_equal_scores_are_positives() -> None:
    """Labels that tell the same scores apart in the same way give the same term, however near the scores are."""
    near = [-THIRD, 0.0, THIRD, 1e-6]
    assert contrastive(near) == contrastive([-3.0, 5.0, 70.0, 1.0])
    assert contrastive(near) != contrastive([0.0, 0.0, 0.0, 0.0])


def test_bins_are_an_option_and_compare_the_nearest_whole_number() -> None:
    near = [-THIRD, 0.0, THIRD, 1e-6, 2.4, 1.6]
    assert contrastive(near, positives="bins") == contrastive([0.0, 0.0, 0.0, 0.0, 2.0, 2.0])
    assert contrastive(near, positives="bins") != contrastive(near)


def test_classes_do_not_know_the_option() -> None:
    values = []
    for positives in ("scores", "bins"):
        method = mcr(lambda_con=1, positives=positives)
        make_fit(method, task=Task(3))
        values.append(losses(method)["contrastive"].item())
    assert values[0] == values[1]


@pytest.mark.parametrize(("modalities", "expected"), [(1, 4 / 30), (2, 14 / 66)])
def test_share_of_positive_pairs_by_hand(modalities: int, expected: float) -> None:
    """Six scores, of which two pairs are equal: .5 twice, -1.2 twice, 0 and .4 once; bins would join 0, .4 and .5."""
    scores = torch.tensor([0.5, -1.2, 0.0, 0.5, -1.2, 0.4])
    found = positive_share(scores, modalities)
    assert found == pytest.approx(expected)
    assert positive_share(score_bins(scores), modalities) > found


@pytest.mark.skipif(not REAL.is_dir(), reason="MCR_BENCH_TEST_DATA has no mosi folder")
def test_share_of_positive_pairs_on_the_scores_of_mosi() -> None:
    """Batches of 32 in two modalities: about 5 % of the pairs are positive; integer bins would make it 20 %."""
    videos = json.loads((REAL / "standard_folds.json").read_text())["train"]
    segments = read_labels(open_csd(REAL / "CMU_MOSI_Opinion_Labels.csd"))
    scores = torch.tensor([s.score for s in segments if s.name.partition("[")[0] in videos])
    order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(0))
    batches = [scores[index] for index in order.split(32) if len(index) == 32]
    assert np.mean([positive_share(batch, 2) for batch in batches]) == pytest.approx(0.050, abs=0.003)
    assert np.mean([positive_share(score_bins(batch), 2) for batch in batches]) == pytest.approx(0.197, abs=0.005)
