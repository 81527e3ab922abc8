"""The unit that scores are learned in: by hand, at its limits, and what cannot be scaled."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.task import Task, Unit, standard_unit
from mcr_bench.datasets.base import Split
from mcr_bench.datasets.mosi import Mosi
from mcr_bench.tests.support.media.mosi_files import DIALS, prepared, write_pickle
from mcr_bench.tests.support.records.scored_files import SPLIT, job_of, outcome, save, scores, specs

STANDARD = Task(None, "standard")


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_mean_and_deviation_by_hand() -> None:
    """1, 3, 5: mean 3, variance 8/3; the first score is below the mean, so the direction is turned round."""
    unit = standard_unit(tensor(1, 3, 5))
    assert (unit.mean, unit.size) == pytest.approx((3, -((8 / 3) ** 0.5)))
    assert unit.learned(tensor(1, 3, 5)).tolist() == pytest.approx([1.5**0.5, 0, -(1.5**0.5)], abs=1e-6)
    assert standard_unit(tensor(5, 3, 1)).size == pytest.approx((8 / 3) ** 0.5)


def test_a_first_score_at_the_mean_does_not_count() -> None:
    assert standard_unit(tensor(3, 5, 1)).size > 0
    assert standard_unit(tensor(3, 1, 5)).size < 0
    assert standard_unit(tensor(0.3, 0.1, 0.5) * 1e-7 + 1e-3).size < 0


@pytest.mark.parametrize(("a", "b"), [(-2, 0), (0.01, 1000), (150, 7), (-3, 1e6), (1e30, 0), (1e-30, 1), (1e-200, 0)])
def test_the_same_scores_in_any_unit_are_learned_as_the_same_bits(a: float, b: float) -> None:
    y = torch.from_numpy(np.random.default_rng(5).normal(size=300) * 3 + 2)
    if abs(b) > 1e10 * abs(a):
        b = 0.0  # nothing of y is left in the sum
    other = a * y + b
    mine, theirs = (STANDARD.fitted(scores).learned(scores) for scores in (y, other))
    assert torch.equal(mine, theirs)
    assert mine.double() == pytest.approx((y - y.mean()) / y.std(correction=0) * (y[0] - y.mean()).sign(), abs=1e-6)


def test_what_is_predicted_comes_back_in_the_user_s_unit() -> None:
    y = tensor(1e6 + 1, 1e6 - 2, 1e6 + 0.5)
    task = STANDARD.fitted(y)
    assert task.user(task.learned(y)).tolist() == pytest.approx(y.tolist(), abs=2e-6)
    logits = torch.randn(4, 1)
    assert Task(None).user(logits) is logits
    assert Task(3, "standard").fitted(torch.arange(3)) == Task(3, "standard")
    assert Unit().learned(y).dtype == torch.float32


@pytest.mark.parametrize(
    "y", [tensor(5, 5, 5), tensor(0, 0), tensor(2.5), tensor(0.1 + 0.2, 0.3), tensor(-1e6, -1e6)], ids=str
)
def test_equal_scores_have_no_scale(y: torch.Tensor) -> None:
    with pytest.raises(UserError, match=f"all {len(y)} scores .*nothing can be learned.*Give training"):
        STANDARD.fitted(y)
    assert Task(None).fitted(y).unit == Unit()


def test_equal_training_scores_are_refused_before_training(tmp_path: Path) -> None:
    data = save(tmp_path / "flat.npz", np.where(SPLIT == "train", 7.5, scores()))
    with pytest.raises(UserError, match=r"flat.npz', protocol file, fold 1: all 40 scores .* are 7.5"):
        specs(data, "joint")
    assert outcome(job_of(specs(data, "joint", dataset__target_scale="none")[0], tmp_path))["final"]["test/mae"] > 0


def test_a_fold_with_equal_training_scores_is_refused_and_the_others_are_not(tmp_path: Path) -> None:
    group = np.repeat(np.array(["a", "b", "c"]), [20, 22, 22])
    data = save(tmp_path / "folds.npz", np.where(group == "c", scores(), 2.0), group=group)
    options = {"protocol": "groups", "dataset__allow_group_overlap": "true"}
    (trains_on_c,) = specs(data, "joint", seed=0, **options)  # type: ignore[arg-type]
    assert trains_on_c.fold == 1
    with pytest.raises(UserError, match="protocol groups, fold 2: all 20 scores"):
        specs(data, "joint", seed=1, **options)  # type: ignore[arg-type]


def test_equal_scores_in_the_other_parts_are_no_matter(tmp_path: Path) -> None:
    data = save(tmp_path / "flat.npz", np.where(SPLIT == "train", scores(), 7.5))
    assert outcome(job_of(specs(data, "joint")[0], tmp_path))["final"]["test/pearson"] == 0


def test_a_split_of_scores_keeps_them_exactly() -> None:
    """Also one of a third party's, whose target is float32."""
    split = Split({"a": torch.zeros(3, 2)}, torch.tensor([0.1, 0.7, 0.4]), list("abc"))
    learned = split.learned(STANDARD.fitted(split.labels)).to(torch.device("cpu"))
    assert learned.labels.tolist() == split.target.double().tolist()
    assert learned.target.tolist() == pytest.approx([1.5**0.5, -(1.5**0.5), 0], abs=1e-6)
    classes = Split({"a": torch.zeros(3, 2)}, torch.tensor([0, 1, 1]), list("abc"))
    assert classes.learned(Task(2)) is classes


def test_sentiment_is_scaled_on_request(tmp_path: Path) -> None:
    data = prepared(tmp_path, write_pickle(tmp_path / "raw"))
    assert data.facts().task == Task(None, "none")
    scaled = Mosi(data.location, target_scale="standard", **DIALS)  # type: ignore[arg-type]
    scaled.require("standard", 1)
    train = scaled.load("standard", 1, 0, ("text",)).train
    raw = np.array([-3.0, 2.4, 0.0, -1.0])
    unit = scaled.facts().task.fitted(train.labels).unit
    assert (unit.mean, abs(unit.size)) == pytest.approx((raw.mean(), raw.std()), rel=1e-6)
    dials = {"task": "binary", "target_scale": "standard"}
    assert scaled.acting(dials) == dials
    assert Mosi(data.location, task="binary", **DIALS).acting(dials) == {"task": "binary"}  # type: ignore[arg-type]
    scaled.cache.index.labels[:] = 1.0
    with pytest.raises(UserError, match="mosi, protocol standard, fold 1: all 16 scores"):
        scaled.require("standard", 1)
