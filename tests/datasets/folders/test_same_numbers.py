"""The same numbers as .npz, .npy, .pt, Parquet, CSV and JSON lines give the same samples and bit-equal results."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result as Shown
from typer.testing import CliRunner

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.making import make_dataset
from mcr_bench.bench.errors import UserError
from mcr_bench.cli import app
from mcr_bench.datasets.arrays import Arrays
from mcr_bench.tests.support.inputs.array_folders import FORMS, described, write_csv, write_npy, write_npz
from mcr_bench.tests.support.runs.hooked import Result, runs_of, same, trained

SHORT = {"epochs": "1", "model__fusion": "late-linear"}


def call(*arguments: str) -> Shown:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_npz(tmp_path_factory.mktemp("npz") / "mine.npz")


@pytest.fixture(scope="module")
def results(npz: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return trained(runs_of("joint", str(npz), **SHORT)[-1], tmp_path_factory.mktemp("results"))


@pytest.mark.parametrize("form", FORMS)
def test_samples_and_results_are_those_of_the_npz(form: str, npz: Path, results: Result, tmp_path: Path) -> None:
    folder = FORMS[form](tmp_path / "mine")
    one, other = Arrays(npz), Arrays(folder)
    assert registry.dataset(str(folder)) is Arrays
    assert other.label == "mine"
    assert one.facts() == other.facts()
    assert list(one.protocols()) == list(other.protocols()) == ["file", "groups"]
    for protocol in one.protocols():
        first, second = (data.load(protocol, 1, 0, ("voice", "face")) for data in (one, other))
        for here, there in zip(
            (first.train, first.val, first.test), (second.train, second.val, second.test), strict=True
        ):
            assert here.ids == there.ids
            assert here.groups == there.groups
            assert torch.equal(here.target, there.target)
            assert all(torch.equal(here.values[m], there.values[m]) for m in ("voice", "face"))
    (run,) = runs_of("joint", str(folder), **SHORT)
    assert same(results, trained(run, tmp_path))


@pytest.mark.parametrize("form", FORMS)
def test_the_fingerprint_follows_every_byte_and_not_the_place(form: str, tmp_path: Path) -> None:
    folder = FORMS[form](tmp_path / "mine")
    before = Arrays(folder).fingerprint()
    (folder / "notes.txt").write_text("not in use")
    shutil.move(folder, tmp_path / "moved")
    folder = tmp_path / "moved"
    assert Arrays(folder).fingerprint() == before
    prints = {before}
    for path in sorted(folder.glob("*.*")):
        if path.suffix in (".txt", ".pt", ".parquet"):  # a byte more there is not read, or damage
            continue
        content = path.read_bytes()
        path.write_bytes(content + b"\n")
        prints.add(Arrays(folder).fingerprint())
        path.write_bytes(content)
    assert len(prints) == len(list(folder.glob("*.*"))) - (form in ("pt", "parquet"))
    assert Arrays(folder).fingerprint() == before


def test_the_verbs_take_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path / "home"))
    folder = write_csv(tmp_path / "mine")
    assert "dataset.toml" in call("data", "info", str(folder)).stdout
    verified = call("data", "verify", str(folder))
    assert verified.exit_code == 0, verified.output
    assert "train 18, validation 6, test 6" in verified.stdout
    seen = call("run", "--methods", "joint", "--dataset", f"{folder}/", "--seeds", "1", "--plan")
    assert seen.exit_code == 0, seen.output
    assert "mine: 3 classes · 18/6/6 · voice (4,) -> mlp · face (5, 2) -> conv1d · majority 33 %" in seen.stdout
    assert "the test part has 6 samples" in seen.stdout


def test_a_folder_is_named_by_its_name_from_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_npy(tmp_path / "mine"))
    assert make_dataset(".", Path("data"), {}).label == "mine"


def test_files_of_several_forms_in_one_folder(tmp_path: Path) -> None:
    write_csv(tmp_path)
    torch.save(torch.ones(30, 3, dtype=torch.bfloat16).cumsum(0), tmp_path / "alone.pt")
    (tmp_path / "sub").mkdir()
    torch.save({"n": torch.arange(30) % 5 + 1, "has": [True, False] * 15}, tmp_path / "sub" / "more.pth")
    more = 'text = { array = "alone.pt", present = "sub/more.pth:has" }\n'
    toml = (tmp_path / "dataset.toml").read_text()
    toml = toml.replace('face = "face.npy"', 'face = { array = "face.npy", length = "sub/more.pth:n" }')
    facts = Arrays(
        described(tmp_path, toml.replace('label = "y"', 'label = "y"\nclass_names = ["a", "b", "c"]') + more)
    ).facts()
    assert facts.class_names == ("a", "b", "c")
    assert {m: (one.shape, one.padded, one.lacked) for m, one in facts.modalities.items()} == {
        "voice": ((4,), False, False),
        "face": ((5, 2), True, False),
        "text": ((3,), False, True),
    }


def test_several_columns_as_label_are_labels_or_scores(tmp_path: Path) -> None:
    folder = write_csv(tmp_path / "mine")
    toml = (folder / "dataset.toml").read_text()
    described(folder, toml.replace('label = "y"', 'label = ["v0", "v1"]'))
    assert Arrays(folder).facts().task.scores == 2


def test_names_that_look_like_numbers_stay_as_they_are(tmp_path: Path) -> None:
    folder = write_csv(tmp_path)
    text = (folder / "all.csv").read_text()
    for number in range(10):
        text = text.replace(f",g{number},", f",{'0' * number}7,")
    (folder / "all.csv").write_text(text)
    assert sorted(set(Arrays(folder)._table.groups or ()), key=len) == ["0" * number + "7" for number in range(10)]


def test_a_folder_without_a_dataset_toml_says_what_to_write(tmp_path: Path) -> None:
    np.save(tmp_path / "voice.npy", np.zeros(3))
    with pytest.raises(UserError, match=r"dataset\.toml"):
        registry.dataset(str(tmp_path))
    with pytest.raises(UserError, match="Give the folder"):
        registry.dataset(str(described(tmp_path, "") / "dataset.toml"))


def test_what_looks_wrong_is_told_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path / "home"))
    draws, count = np.random.default_rng(0), 60
    wrong = {
        "words": draws.integers(0, 3000, (count, 7)),
        "photo": draws.integers(0, 256, (count, 9, 9, 3)).astype(np.uint8),
        "still": np.full((count, 4), 2.5),
        "y": (np.arange(count) % 20 == 0).astype(int),
        "split": np.resize(["train"] * 4 + ["val", "test"], count),
    }
    for key, array in wrong.items():
        np.save(tmp_path / f"{key}.npy", array)
    toml = 'label = "y.npy"\nsplit = "split.npy"\n[modalities]\n'
    described(tmp_path, toml + "".join(f'{m} = "{m}.npy"\n' for m in ("words", "photo", "still")))
    plan = ("run", "--methods", "joint", "--dataset", str(tmp_path), "--seeds", "1", "--plan")
    seen = call(*plan)
    assert seen.exit_code == 0, seen.output
    for says in (
        "'x_words' holds whole numbers up to 29",
        "'x_photo' (9, 9, 3) looks like images with the channels last",
        "'x_still' is 2.5 in every training sample",
        "the test part has 10 samples",
        "strong imbalance in train: 38 samples of class '0', 2 of class '1'",
    ):
        assert says in " ".join(seen.stdout.split())
    np.save(tmp_path / "y.npy", wrong["y"].astype(float))
    assert "'y' holds whole numbers as floats (0 to 1) and is learned as scores" in " ".join(call(*plan).stdout.split())
