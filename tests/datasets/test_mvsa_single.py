"""MVSA-Single: labels merged, lists, vocabularies of training parts, duplicates, and input that is wrong."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mcr_bench.bench.audit.verify import verification_of
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.mvsa_single import MvsaSingle
from mcr_bench.datasets.raw.texts import mvsa as raw
from mcr_bench.datasets.raw.texts.words import read_vocabulary
from mcr_bench.tests.support.media.pair_files import draw, mood, mvsa, tweet

SMALL: dict[str, Any] = {"picture_size": 16, "crop": 16, "steps": 6}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mvsa(tmp_path_factory.mktemp("mvsa") / "raw")


def changed(whole: Path, folder: Path, change: Callable[[Path], object], **dials: Any) -> MvsaSingle:
    """The set prepared from a changed copy."""
    shutil.copytree(whole, folder / "raw")
    change(folder / "raw")
    return prepared(folder / "raw", folder, **dials)


def prepared(source: Path, folder: Path, **dials: Any) -> MvsaSingle:
    data = MvsaSingle(folder / "data/mvsa-single", **{**SMALL, **dials})
    data.prepare(Preparation(source))
    return data


def test_both_protocols_with_their_labels_and_words(whole: Path, tmp_path: Path) -> None:
    data = prepared(whole, tmp_path)
    splits = data.load("lists", 1, 0, ("image", "text"))
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [18, 6, 6]
    assert splits.test.target.tolist() == [raw.CLASSES.index(mood(n)) for n in range(25, 31)]
    own = data.load("merged", 1, 0, ("text",))
    assert sum(len(part) for part in (own.train, own.val, own.test)) == 34
    assert {"31", "32"}.isdisjoint(data.cache.index.ids)
    assert data.cache.index.labels[data.cache.index.ids.index("33")] == raw.CLASSES.index(mood(33))
    words = read_vocabulary(data.cache.lists["vocabulary-lists.tsv"])
    assert words[:2] == ["rt", "someone"]
    assert not {"only1", "http", "t"} & {*words}
    ids = splits.test.batch(torch.arange(6)).inputs.values["text"][0, :, 0].tolist()
    spoken = tweet(25).lower().replace("@", "").replace(":", "").replace("&", "").replace(",", "").split()
    at = {word: 2 + place for place, word in enumerate(words)}
    assert ids == [at.get(word.strip("!"), 1) for word in spoken[:6]]
    assert data.facts().modalities["text"].vocabulary >= 2 + len(words)
    assert splits.train.mean()["text"].tolist() == [[0]] * 6


def test_the_vocabulary_is_that_of_the_training_part_alone(whole: Path, tmp_path: Path) -> None:
    def tell(source: Path) -> None:
        for name in ("dev", "test"):
            rows = [json.loads(line) for line in (source / f"{name}.jsonl").read_text().splitlines()]
            lines = [json.dumps({**row, "text": f"unseen unseen {row['text']}"}) for row in rows]
            (source / f"{name}.jsonl").write_text("\n".join(lines))

    data = changed(whole, tmp_path, tell)
    assert "unseen" not in read_vocabulary(data.cache.lists["vocabulary-lists.tsv"])
    test = data.load("lists", 1, 0, ("text",)).test.batch(torch.arange(6)).inputs.values["text"]
    assert (test[:, :2] == 1).all()


def test_pictures_and_texts_in_two_parts_are_named(whole: Path, tmp_path: Path) -> None:
    def twice(source: Path) -> None:
        shutil.copy(source / "data/1.jpg", source / "data/25.jpg")
        text = (source / "test.jsonl").read_text()
        (source / "test.jsonl").write_text(text.replace(json.dumps(tweet(26)), json.dumps(tweet(2) + "?")))

    data = changed(whole, tmp_path, twice)
    note = data.protocols()["lists"].note
    assert note == "LEAK: 1 image in train and test, 1 text in train and test"
    kinds = [(o.kind, o.shared) for o in verification_of(data, False).protocols[0][1][0].overlaps]
    assert kinds == [("image", 1), ("text", 1)]


def test_pairs_that_cannot_be_used_are_named(whole: Path, tmp_path: Path) -> None:
    def damage(source: Path) -> None:
        (source / "data/1.jpg").unlink()
        (source / "data/2.jpg").write_bytes((source / "data/3.jpg").read_bytes()[:-200])
        (source / "data/3.jpg").write_text("<html>")
        (source / "data/33.txt").write_bytes("Caf\u00e9 im Regen".encode("latin-1"))
        (source / "data/34.txt").write_bytes("Regen".encode("utf-16"))
        (source / "data/35.txt").write_bytes(b"\x00\x01\x02")
        (source / "data/36.txt").write_text("http://t.co/x \U0001f600")

    data = changed(whole, tmp_path, damage)
    left = dict(data.inventory().left_out)
    assert left["1"] == "no data/1.jpg"
    assert "2.jpg: is truncated" in left["2"]
    assert "3.jpg: a web page" in left["3"]
    assert "is encoded in UTF-16. Save it as UTF-8." in left["34"]
    assert "is not a text" in left["35"]
    told = dict(data.inventory().findings)
    assert told["33"] == "33.txt is not UTF-8 and is read as Latin-1"
    assert told["36"] == "its text has no word"


def write(name: str, text: str | bytes) -> Callable[[Path], object]:
    return lambda source: (source / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def without(name: str) -> Callable[[Path], object]:
    return lambda source: (source / name).unlink()


def replaced(name: str, old: str, new: str) -> Callable[[Path], object]:
    return lambda source: (source / name).write_text((source / name).read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("dev.jsonl"), r"has no dev\.jsonl beside the other lists"),
        (replaced("dev.jsonl", '"neutral"', '"positive"'), r"a list has \d+ as positive, but labelResultAll"),
        (replaced("dev.jsonl", '"neutral"', '"happy"'), "unknown label 'happy'. Known: negative, neutral, positive"),
        (replaced("test.jsonl", '"25"', '"1"'), r"test\.jsonl, line 1: 1 is already in train"),
        (replaced("train.jsonl", '"text"', '"words"'), r"train\.jsonl, line 1: .* does not have id, label, text"),
        (replaced("train.jsonl", "data/1.jpg", "data/2.jpg"), "the pair 1 has the picture 'data/2"),
        (write("train.jsonl", "1,positive"), r"train\.jsonl, line 1: .* does not have|is not JSON"),
        (write("train.jsonl", "{'id': 1}"), r"train\.jsonl, line 1: is not JSON"),
        (write("train.jsonl", b"\xff\xfe{"), r"train\.jsonl' cannot be read as text"),
        (write("val.jsonl", "{}"), r"dev\.jsonl' and .*val\.jsonl' differ"),
        (write("labelResultAll.txt", "1\tpositive,positive\tpositive,neutral"), "line 1: .* not that of MVSA-Multiple"),
        (write("labelResultAll.txt", "1\tneutral,positive\n1\tneutral,neutral"), "1 has other labels before"),
        (lambda source: shutil.copy(source / "data/1.jpg", source / "data/1.png"), "are the same pair"),
        (lambda source: shutil.copy(source / "data/1.txt", source / "data/1.TXT"), "are the same pair"),
        (lambda source: shutil.rmtree(source / "data"), r"has no labelled pair\.\n1: no data/1\.jpg"),
    ],
)
def test_wrong_input_is_an_error_that_names_it(
    whole: Path, change: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        changed(whole, tmp_path, change)
    assert not (tmp_path / "data").exists()


def test_labels_alone_and_lists_alone(whole: Path, tmp_path: Path) -> None:
    for name in ("train", "dev", "test"):
        (tmp_path / "of_lists").mkdir(exist_ok=True)
        shutil.copy(whole / f"{name}.jsonl", tmp_path / "of_lists")
    (tmp_path / "of_lists/dev.jsonl").rename(tmp_path / "of_lists/val.jsonl")
    data = MvsaSingle(tmp_path / "data", **SMALL)
    data.use_lists_alone(tmp_path / "of_lists")
    verified = verification_of(data, False)
    assert [protocol.name for protocol, _ in verified.protocols] == ["lists"]
    assert dict(verified.protocols[0][1][0].sizes) == {"train": 18, "val": 6, "test": 6, "": 0}
    (tmp_path / "labels").mkdir()
    for n in range(1, 13):
        draw(tmp_path / f"labels/data/{n}.png", n)
        (tmp_path / f"labels/data/{n}.txt").write_text(tweet(n))
    shutil.copy(whole / "labelResultAll.txt", tmp_path / "labels")
    alone = prepared(tmp_path / "labels", tmp_path)
    assert list(alone.protocols()) == ["merged"]
    assert len(alone.cache.index.ids) == 12
    with pytest.raises(UserError, match=r"has no labelResultAll\.txt, and no train\.jsonl\. Expected"):
        prepared(tmp_path, tmp_path / "other")


def test_features_that_the_user_gives(whole: Path, tmp_path: Path) -> None:
    def give(source: Path) -> None:
        (source / "features").mkdir()
        for n in range(1, 31):
            steps = () if n == 1 else (9,)
            np.save(source / f"features/{n}.npy", np.full((*steps, 3), n + 0.5, np.float32))
        np.save(source / "features/30.npy", np.zeros((2, 4)))

    data = changed(whole, tmp_path, give, text="files", text_channels=3)
    train = data.load("lists", 1, 0, ("text",)).train
    assert train.lengths["text"].tolist() == [1] + [6] * 17
    batch = train.batch(torch.arange(18)).inputs.values["text"]
    assert batch.shape == (18, 6, 3)
    assert batch[0, 1:].abs().max() == 0
    left = dict(data.inventory().left_out)
    assert "30.npy: has shape (2, 4); needed: numbers (3,) or (steps, 3)" in left["30"]
    assert left["33"] == "no features/33.npy"


@pytest.mark.parametrize("mark", ["\u2028", "\x85"])
def test_texts_may_hold_marks_that_unicode_ends_a_line_with(whole: Path, mark: str, tmp_path: Path) -> None:
    """JSON leaves them as they are; only a line feed ends a line of the list."""
    change = replaced("train.jsonl", '"text": "', f'"text": "{mark}')
    data = changed(whole, tmp_path, change)
    assert data.inventory().left_out == ()
