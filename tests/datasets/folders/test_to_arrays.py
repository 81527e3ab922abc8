"""`mcr_bench.to_arrays`: datasets of PyTorch and Hugging Face become folders that are read like any other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

import mcr_bench
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.arrays import Arrays
from mcr_bench.datasets.folders.samples import named_values

COUNT = 12
X = torch.arange(COUNT * 4.0).reshape(COUNT, 4) ** 2
Z = torch.arange(COUNT * 6.0).reshape(COUNT, 3, 2).sin()
Y = torch.arange(COUNT) % 3
ROWS = {"train": range(6), "val": range(6, 9), "test": range(9, 12)}


class Items(Dataset[Any]):
    """A dataset that raises no IndexError, as many do not."""

    def __init__(self, rows: range, make: Any) -> None:
        self.rows, self.make = rows, make

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: int) -> Any:
        return self.make(self.rows[at % len(self.rows)])


class Stream(IterableDataset[Any]):
    def __init__(self, rows: range, make: Any) -> None:
        self.rows, self.make = rows, make

    def __iter__(self) -> Any:
        return map(self.make, self.rows)


def parts(make: Any, kind: Any = Items) -> dict[str, Any]:
    return {part: kind(rows, make) for part, rows in ROWS.items()}


def values_of(folder: Path) -> dict[str, Any]:
    return Arrays(folder)._table.values


FORMS: dict[str, Any] = {
    "dicts": parts(lambda i: {"voice": X[i], "face": Z[i].numpy(), "label": int(Y[i]), "group": f"g{i}"}),
    "a stream": parts(lambda i: {"voice": X[i].tolist(), "face": Z[i], "label": Y[i]}, Stream),
    "tuples": parts(lambda i: (X[i], Z[i], Y[i])),
    "pairs": parts(lambda i: ((X[i], Z[i]), int(Y[i]))),
    "a dict and a label": parts(lambda i: ({"voice": X[i], "face": Z[i]}, Y[i])),
    "tensors": {part: Subset(TensorDataset(X, Z, Y), list(rows)) for part, rows in ROWS.items()},
    "parts in samples": Items(
        range(COUNT),
        lambda i: {"voice": X[i], "face": Z[i], "y": Y[i], "split": ["train", "val", "test"][max(0, i // 3 - 1)]},
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_datasets_of_torch(form: str, tmp_path: Path) -> None:
    folder = mcr_bench.to_arrays(FORMS[form], tmp_path / "mine")
    data = Arrays(folder)
    assert {part: len(y) for part, y in data.labels("file", 1, 0).items()} == {"train": 6, "val": 3, "test": 3}
    assert data._table.target.tolist() == Y.tolist()
    voice, face = values_of(folder).values()
    assert np.array_equal(voice, X)
    assert np.array_equal(face, Z)
    named = ["voice", "face"] if form not in ("tuples", "pairs", "tensors") else ["m1", "m2"]
    assert list(data.facts().modalities) == named
    assert (data._table.groups is not None) == (form == "dicts")


def test_names_sequences_images_and_texts(tmp_path: Path) -> None:
    def sample(i: int) -> tuple[Any, ...]:
        picture = Image.fromarray(np.full((6, 5, 3), (i, 0, 9), np.uint8))
        return (
            torch.arange(1, i % 3 + 2),
            torch.ones(i % 2 + 2, 4),
            picture,
            picture.convert("L"),
            "cat" if i % 2 else "dog",
        )

    names = ["tokens", "steps", "photo", "grey", "animal"]
    folder = mcr_bench.to_arrays(parts(sample), tmp_path / "mine", names=names, label="animal")
    facts = Arrays(folder).facts()
    assert {m: (one.shape, one.padded, one.vocabulary) for m, one in facts.modalities.items()} == {
        "tokens": ((3, 1), True, 4),
        "steps": ((3, 4), True, 0),
        "photo": ((3, 6, 5), False, 0),
        "grey": ((1, 6, 5), False, 0),
    }
    assert facts.class_names == ("cat", "dog")
    assert values_of(folder)["photo"][7, :, 0, 0].tolist() == [7, 0, 9]
    chosen = mcr_bench.to_arrays(parts(sample), tmp_path / "other", names=names, label="animal", modalities=["photo"])
    assert list(Arrays(chosen).facts().modalities) == ["photo"]


def test_the_words_that_people_use_for_the_parts_are_parts(tmp_path: Path) -> None:
    training, dev, testing = FORMS["dicts"].values()
    folder = mcr_bench.to_arrays({"Training": training, "dev": dev, "testing": testing}, tmp_path / "mine")
    assert [len(y) for y in Arrays(folder).labels("file", 1, 0).values()] == [6, 3, 3]


class Feature:
    names = ("no", "yes", "perhaps")


def test_names_of_classes_that_a_dataset_declares(tmp_path: Path) -> None:
    declared = parts(lambda i: {"voice": X[i], "label": Y[i]})
    declared["train"].features = {"label": Feature()}
    assert Arrays(mcr_bench.to_arrays(declared, tmp_path / "mine")).facts().class_names == Feature.names


BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no part": (Items(range(9), lambda i: {"a": X[i], "y": Y[i]}), {}, "the part of each sample is unknown. Give"),
    "no label": (parts(lambda i: {"a": X[i], "b": Z[i]}), {}, "a sample has no label (it has a, b, split). Name it"),
    "another label": (parts(lambda i: {"a": X[i], "y": Y[i]}), {"label": "z"}, "a sample has no z"),
    "a number": (parts(lambda i: i), {}, "a sample is of type int; allowed: a dict, or a tuple of one input or more"),
    "too few names": (
        parts(lambda i: (X[i], Y[i])),
        {"names": ["a"]},
        "a sample has 2 entries. Give one name for each",
    ),
    "text": (parts(lambda i: {"a": "hello", "y": Y[i]}), {}, "'a' is text. Make numbers of it"),
    "a dict inside": (
        parts(lambda i: {"a": {"b": 1}, "y": Y[i]}),
        {},
        "'a' of a sample is of type dict; allowed: numbers",
    ),
    "None": (parts(lambda i: {"a": None, "y": Y[i]}), {}, "'a' of a sample is of type NoneType"),
    "no input": (parts(lambda i: {"y": Y[i]}), {}, "no entry of a sample is an input"),
    "a name with a dot": (parts(lambda i: {"a.b": X[i], "y": Y[i]}), {}, "'a.b' cannot name a modality"),
    "an entry that is missing": (
        parts(lambda i: {"a": X[i], **({"y": 1} if i < 3 else {})}),
        {},
        "sample 3 has no 'y'",
    ),
    "sizes that differ": (parts(lambda i: {"a": torch.ones(3, i + 1), "y": Y[i]}), {}, "(3, 1) in sample 0 and (3, 2)"),
    "labels that differ": (parts(lambda i: {"a": X[i], "y": [1] * (i + 1)}), {}, "'y' differs in length"),
    "no val": (
        {part: one for part, one in FORMS["dicts"].items() if part != "val"},
        {},
        "to_arrays: no sample is in val (the dataset has train, test). Give all three, "
        '{"train": ..., "val": ..., "test": ...}. For "val" every tenth sample of train is a good choice: '
        "torch.utils.data.Subset(train, range(0, len(train), 10))",
    ),
    "an empty test": (
        {**FORMS["dicts"], "test": []},
        {},
        "no sample is in test (the dataset has train, val). Give all",
    ),
    "other words": (
        {"eval": FORMS["dicts"]["val"], "training": FORMS["dicts"]["train"]},
        {},
        "no sample is in val or test (the dataset has eval, training)",
    ),
    "empty": ({"train": []}, {}, "the dataset has no samples"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_written(case: str, tmp_path: Path) -> None:
    dataset, options, says = BAD[case]
    with pytest.raises(UserError) as caught:
        mcr_bench.to_arrays(dataset, tmp_path / "mine", **options)
    assert says in str(caught.value)
    assert not (tmp_path / "mine").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    mcr_bench.to_arrays(FORMS["dicts"], tmp_path)
    with pytest.raises(UserError, match=r"exists and is not an empty folder\. Give another one, or remove it"):
        mcr_bench.to_arrays(FORMS["dicts"], tmp_path)


def test_a_dataset_of_hugging_face(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"voice": datasets.Sequence(datasets.Value("float32")), "photo": datasets.Image(),
                                  "label": datasets.ClassLabel(names=["cat", "dog", "owl"])})  # fmt: skip
    picture = Image.new("RGB", (5, 4), (1, 2, 3))
    made = datasets.DatasetDict(
        {
            part: datasets.Dataset.from_dict(
                {"voice": X[list(rows)].tolist(), "photo": [picture] * len(rows), "label": Y[list(rows)].tolist()},
                features,
            )
            for part, rows in ROWS.items()
        }
    )
    folder = mcr_bench.to_arrays(made, tmp_path / "mine")
    facts = Arrays(folder).facts()
    assert facts.class_names == ("cat", "dog", "owl")
    assert {m: one.shape for m, one in facts.modalities.items()} == {"voice": (4,), "photo": (3, 4, 5)}
    assert np.array_equal(values_of(folder)["voice"], X)


def test_names_tell_several_numbers_from_a_vector() -> None:
    sample = ((0.5, 0.7), 1)
    assert named_values(sample, ["a", "b", "label"]) == {"a": 0.5, "b": 0.7, "label": 1}
    assert named_values(sample, ["a", "label"]) == {"a": (0.5, 0.7), "label": 1}
