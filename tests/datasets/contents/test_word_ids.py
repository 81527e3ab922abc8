"""Ids of words in array files: read beside their lengths, trained on without being numbers, wrong ones told."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mcr_bench.bench.catalog.registry import method_names
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.training.evaluation import absent_inputs
from mcr_bench.datasets.arrays import Arrays
from mcr_bench.datasets.base import Modality
from mcr_bench.methods.crmt import CRMT
from mcr_bench.methods.functional_entropy import FunctionalEntropy
from mcr_bench.methods.mcr import MCR
from mcr_bench.tests.datasets.test_paper_sets import command, settings

COUNT, STEPS, WORDS = 60, 7, 30
DRAWS = np.random.default_rng(0)
IDS = DRAWS.integers(1, WORDS, (COUNT, STEPS))
LENGTHS = 1 + np.arange(COUNT) % STEPS
SMALL = {"encoder.width": 4, "encoder.depth": 1, "model.width": 4, "epochs": 1, "batch_size": 16}


def saved(folder: Path, **changed: Any) -> Path:
    path = folder / "mine.npz"
    arrays = {
        "x_text": IDS,
        "length_text": LENGTHS,
        "x_picture": DRAWS.normal(size=(COUNT, 5)),
        "y": np.arange(COUNT) % 3,
        "split": np.repeat(["train", "val", "test"], 20),
    }
    np.savez(path, **{key: x for key, x in {**arrays, **changed}.items() if x is not None})
    return path


def test_whole_numbers_beside_lengths_are_ids(tmp_path: Path) -> None:
    data = Arrays(saved(tmp_path))
    assert data.facts().modalities["text"] == Modality((STEPS, 1), padded=True, vocabulary=IDS.max() + 1)
    assert any(
        "'x_text' is read as ids of words, up to 29, where 0 stands for no word" in note for note in data.facts().notes
    )
    train = data.load("file", 1, 0, ("text", "picture")).train
    real = np.arange(STEPS) < LENGTHS[:20, None]
    assert train.values["text"].dtype == torch.int64
    assert train.values["text"][..., 0].tolist() == np.where(real, IDS[:20], 0).tolist()
    absent = absent_inputs(train)
    assert absent.values["text"].tolist() == np.zeros((1, STEPS, 1)).tolist()
    assert absent.lengths["text"].tolist() == [round(LENGTHS[:20].mean())]


def test_words_that_only_other_parts_have_are_told(tmp_path: Path) -> None:
    ids = np.where(np.arange(COUNT)[:, None] < 20, 1 + IDS % 2, 1 + IDS % 6)
    (note,) = [n for n in Arrays(saved(tmp_path, x_text=ids)).facts().notes if "x_text" in n]
    assert "up to 6, where 0 stands for no word; 4 of them are in no training sample" in note


def test_an_absent_text_is_no_word(tmp_path: Path) -> None:
    present = np.arange(COUNT) % 4 > 0
    train = Arrays(saved(tmp_path, present_text=present)).load("file", 1, 0, ("text",)).train
    assert not train.values["text"][~train.present["text"]].any()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x_text": IDS - 5}, "are below 0, or 10,000,000 or more, at row"),
        ({"x_text": IDS.astype(np.int64) + 2**40}, "Number the words from 1 on"),
        ({"x_text": IDS.astype(float)}, r"'x_text' holds float64 of shape \(60, 7\).*save x_text\.astype\(int\)"),
        ({"length_text": LENGTHS + 1}, r"allowed: 1\.\.7"),
    ],
)
def test_wrong_ids_are_errors(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        Arrays(saved(tmp_path, **changed)).facts()


def test_methods_that_move_inputs_say_that_ids_cannot_be_moved(tmp_path: Path) -> None:
    facts = Arrays(saved(tmp_path)).facts()
    reasons = [FunctionalEntropy().skip(facts), MCR(perturb="noise_input").skip(facts), CRMT().skip(facts)]
    assert all("those of 'text' are ids of words" in str(reason) for reason in reasons)
    assert FunctionalEntropy(level="feature").skip(facts) is MCR().skip(facts) is CRMT(share=0.0).skip(facts) is None


@pytest.mark.slow
def test_every_method_learns_from_ids_or_says_why_not(tmp_path: Path) -> None:
    call = ["run", "--methods", "all", "--dataset", str(saved(tmp_path)), "--seeds", "1", "--jobs", "1", "--json"]
    result: dict[str, Any] = json.loads(command(tmp_path, *call, *settings(SMALL)))
    assert not result["failed"]
    assert all(row["status"] == "finished" for row in result["runs"])
    assert {row["method"] for row in result["runs"]} | {method for _, method, _ in result["skipped"]} == {
        *method_names()
    }
    assert {method for _, method, reason in result["skipped"] if "ids of words" in reason} == {
        "functional-entropy",
        "crmt",
    }
