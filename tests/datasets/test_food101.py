"""UPMC Food-101: three texts that are never mixed, official and MMBT's parts, and input that is wrong."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mcr_bench.bench.audit.verify import verification_of
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.food101 import Food101
from mcr_bench.datasets.raw.texts.words import read_vocabulary
from mcr_bench.tests.support.media.pair_files import DISHES, dish, food

SMALL: dict[str, Any] = {"picture_size": 16, "crop": 16, "steps": 6}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return food(tmp_path_factory.mktemp("food") / "raw")


def prepared(source: Path, folder: Path, **dials: Any) -> Food101:
    data = Food101(folder / "data/food101", **{**SMALL, **dials})
    data.prepare(Preparation(source))
    return data


def changed(whole: Path, folder: Path, change: Callable[[Path], object], **dials: Any) -> Food101:
    shutil.copytree(whole, folder / "raw")
    change(folder / "raw")
    return prepared(folder / "raw", folder, **dials)


def test_parts_of_the_folders_and_of_the_lists(whole: Path, tmp_path: Path) -> None:
    data = prepared(whole, tmp_path)
    assert list(data.protocols()) == ["official-title", "mmbt-title"]
    official, lists = (data.load(name, 1, 0, ("image", "text")) for name in data.protocols())
    assert [len(part) for part in (official.train, official.val, official.test)] == [21, 3, 12]
    assert {data.class_names[label] for label in official.val.target.tolist()} == {*DISHES}
    assert [len(part) for part in (lists.train, lists.val, lists.test)] == [18, 6, 12]
    assert sorted(lists.val.ids) == sorted(f"{dish(n)}_{n}" for n in range(18, 24))
    assert len(data.class_names) == 101
    (audit,) = verification_of(data, True).protocols[1][1]
    assert [(overlap.kind, overlap.shared) for overlap in audit.overlaps] == [("text", 12)]
    batch = official.train.training_batch(torch.arange(4)).inputs.values
    assert batch["image"].shape == (4, 3, 16, 16)
    assert batch["text"].dtype == torch.int64


def test_three_texts_have_protocols_and_caches_of_their_own(whole: Path, tmp_path: Path) -> None:
    sets = {variant: prepared(whole, tmp_path, variant=variant) for variant in ("title", "page", "recipe")}
    assert len({data.folder for data in sets.values()}) == 3
    assert {name for data in sets.values() for name in data.protocols()} == {
        f"{kind}-{variant}" for kind in ("official", "mmbt") for variant in sets
    }
    words = {
        variant: read_vocabulary(data.cache.lists[f"vocabulary-official-{variant}.tsv"])
        for variant, data in sets.items()
    }
    assert ("page" in words["page"], "recipe" in words["page"], "recipe" in words["recipe"]) == (True, False, True)
    assert "with" in words["title"]


def test_pictures_without_a_title_are_left_out(whole: Path, tmp_path: Path) -> None:
    def leave(source: Path) -> None:
        path = source / "texts/train_titles.csv"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[2:]))

    left = dict(changed(whole, tmp_path, leave).inventory().left_out)
    assert left == {f"{dish(n)}_{n}": "no title of this picture in train" for n in (0, 1)}


def write(name: str, text: str | bytes) -> Callable[[Path], object]:
    return lambda source: (source / name).write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda source: shutil.rmtree(source / "images"), r"has no picture in images/train/CLASS\. Expected"),
        (
            lambda source: (source / "texts/test_titles.csv").unlink(),
            r"has no texts/test_titles\.csv, where titles are",
        ),
        (lambda source: (source / "dev.jsonl").unlink(), r"has no dev\.jsonl beside the other lists"),
        (lambda source: (source / "images/train/ramen").rename(source / "images/train/soup"), "class of UPMC Food-101"),
        (
            write("texts/train_titles.csv", "apple_pie_0.jpg,a pie,ramen"),
            "in train as 'ramen', but the picture is in tr",
        ),
        (write("texts/train_titles.csv", "apple_pie_24.jpg,a,apple_pie"), "but the picture is in test as 'apple_pie'"),
        (write("texts/train_titles.csv", "apple_pie_0.jpg"), "line 1: 'apple_pie_0.jpg' is not picture,title,class"),
        (
            write("texts/train_titles.csv", "apple_pie_0.jpg,a,apple_pie\napple_pie_0.jpg,b,apple_pie"),
            r"train_titles\.csv: apple_pie_0\.jpg has a title already",
        ),
        (lambda source: shutil.rmtree(source / "images/train"), r"No picture with its text is in images/train/CLASS"),
        (write("texts/train_titles.csv", b"a.jpg,caf\xe9,ramen"), r"train_titles\.csv' cannot be read as text"),
        (write("dev.jsonl", '{"img": "x/a_1.jpg", "label": "soup"}'), "line 1: unknown class of UPMC Food-101 'soup'"),
        (write("dev.jsonl", '{"img": "x/ramen_1.jpg", "label": "ramen"}'), "ramen_1 is already in train"),
    ],
)
def test_wrong_input_is_an_error_that_names_it(
    whole: Path, change: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        changed(whole, tmp_path, change)
    assert not (tmp_path / "data").exists()


def test_pages_that_are_missing_are_an_error(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no texts_txt/, where each page is"):
        changed(whole, tmp_path, lambda source: shutil.rmtree(source / "texts_txt"), variant="page")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tacos/ramen_1.txt", r"are the text of one picture|ramen_1\.txt' is a text of tacos, its picture"),
        ("ramen/ramen_1.TXT", r"are the text of one picture"),
    ],
)
def test_two_texts_of_a_picture_and_that_of_another_dish_are_named(
    whole: Path, name: str, message: str, tmp_path: Path
) -> None:
    """Of two candidates none is chosen: the one of the other dish was."""
    with pytest.raises(UserError, match=message):
        changed(whole, tmp_path, write(f"texts_txt/{name}", "a text"), variant="page")


def test_hidden_folders_and_other_cases_of_names_are_taken_as_they_are(whole: Path, tmp_path: Path) -> None:
    def change(source: Path) -> None:
        (source / "images/train/.ipynb_checkpoints").mkdir()
        (source / "images/train").rename(source / "images/Train")
        (source / "texts_txt/ramen/ramen_1.txt").rename(source / "texts_txt/ramen/ramen_1.TXT")

    assert changed(whole, tmp_path, change, variant="page").inventory().clips == 36
