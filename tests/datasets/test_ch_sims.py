"""CH-SIMS: MMSA's unaligned pickle with a score of each modality alone, from the raw file to parts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mcr_bench.bench.audit.verify import verification_of
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.problem.metrics import named_metrics
from mcr_bench.bench.task import Task
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.ch_sims import ChSims
from mcr_bench.tests.support.media.mmsa_files import SIMS, UNALIGNED, content, write_sims

ALL = ("text", "audio", "video")


def prepared(folder: Path, change: Any = None, **dials: Any) -> ChSims:
    data = ChSims(folder / "data/ch-sims", **{**SIMS, **dials})
    data.prepare(Preparation(write_sims(folder / "raw", change)))
    return data


def test_every_modality_has_a_truth_of_its_own(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    train, made = data.load("standard", 1, 0, ALL).train, content(steps=UNALIGNED, own=True)["train"]
    rows = [made["id"].index(i) for i in train.ids]
    assert train.labels.tolist() == made["regression_labels"][rows].tolist()
    for m, letter in (("text", "T"), ("audio", "A"), ("video", "V")):
        assert train.labels_of(m).tolist() == made[f"regression_labels_{letter}"][rows].tolist()
        assert train.own[m].target.dtype == torch.float32
    assert not torch.equal(train.labels_of("video"), train.labels)
    assert data.facts().task == Task(None)
    assert [metric.name for metric in named_metrics(data.facts().task)][-4:] == [
        "sims_acc2",
        "sims_acc3",
        "sims_acc5",
        "sims_f1",
    ]
    assert data.protocols()["standard"].metric == "mae"
    assert {m: shape.shape for m, shape in data.facts().modalities.items()}["audio"] == (9, 3)
    assert set(data.load("standard", 1, 0, ("text", "video")).train.own) == {"text", "video"}


def test_the_truths_can_be_left_out(tmp_path: Path) -> None:
    data = prepared(tmp_path, own_truth="none")
    assert not data.load("standard", 1, 0, ALL).train.own
    assert data.folder != ChSims(data.location, **SIMS).folder


def test_scores_stay_in_the_user_s_unit_whatever_is_learned(tmp_path: Path) -> None:
    data = prepared(tmp_path, target_scale="standard")
    train = data.load("standard", 1, 0, ALL).train
    task = data.facts().task.fitted(train.labels)
    learned = train.learned(task)
    assert torch.equal(learned.labels_of("video"), train.labels_of("video"))
    assert not torch.equal(learned.target_of("video").double(), train.labels_of("video"))


def without(made: dict[str, dict[str, Any]]) -> None:
    for part in made.values():
        del part["regression_labels_V"]


def too_high(made: dict[str, dict[str, Any]]) -> None:
    made["valid"]["regression_labels_A"] = np.full(4, 1.2)


def not_a_number(made: dict[str, dict[str, Any]]) -> None:
    made["test"]["regression_labels"] = np.full(4, np.nan)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without, r"has no regression_labels_T, _A and _V.*--set dataset\.own_truth=none"),
        (too_high, r"the score of the audio of 'c5xsKMxpXnc\$_\$0' is 1\.2; allowed: -1 to 1"),
        (not_a_number, "is nan; allowed: -1 to 1"),
    ],
)
def test_missing_and_wrong_scores_are_errors(change: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        prepared(tmp_path, change)
    assert not (tmp_path / "data").exists()


def test_without_the_scores_of_modalities_it_is_a_plain_regression(tmp_path: Path) -> None:
    assert len(prepared(tmp_path, without, own_truth="none").load("standard", 1, 0, ALL).train) == 8


def test_verify_names_the_videos_that_two_parts_share(tmp_path: Path) -> None:
    def share(made: dict[str, dict[str, Any]]) -> None:
        made["test"]["id"] = [f"03bSnISJMiM$_${n}" for n in range(50, 54)]

    verified = verification_of(prepared(tmp_path, share), True)
    (overlap,) = verified.protocols[0][1][0].overlaps
    assert (overlap.kind, overlap.place, overlap.count) == ("group", "train and test", "1 of 1 groups (videos)")
    assert "video" in verified.protocols[0][0].note
