"""AV-Digits: from recordings and idx files as people have them to splits; partial, damaged and foreign folders."""

import gzip
import os
import struct
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mcr_bench.bench.audit.verify import verification_of
from mcr_bench.bench.catalog.registry import dataset
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.settings.declaration import build
from mcr_bench.datasets.av_digits import AvDigits, blocks, paired
from mcr_bench.datasets.base import Preparation, Split
from mcr_bench.datasets.formats.idx import read_idx
from mcr_bench.datasets.raw.digits_raw import read_images, scan

SPEAKERS = ("ann", "ben", "cid", "dan")
REAL = Path(os.environ.get("MCR_BENCH_TEST_DATA", "missing")) / "av_digits"
real = pytest.mark.skipif(not REAL.is_dir(), reason="MCR_BENCH_TEST_DATA has no av_digits folder")


def record(path: Path, seed: int, seconds: float = 0.3) -> None:
    """A wav of 8 kHz, mono, 16 bits, as the dataset's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).normal(scale=3000, size=round(8000 * seconds))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.astype("<i2").tobytes())


def idx(array: np.ndarray) -> bytes:
    """The idx file of an array of bytes."""
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def mnist(folder: Path, part: str = "t10k", count: int = 90, form: str = "{}-ubyte", start: int = 0) -> Path:
    """Images whose pixels hold their own number in MNIST's files; labels 0, 1, 2 in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 0, 0], images[:, 14, 14] = np.arange(start, start + count) % 251, np.arange(count) % 3
    images[:, 1, 1] = np.arange(start, start + count) // 251
    for what, array in (("images-idx3", images), ("labels-idx1", (np.arange(count) % 3).astype(np.uint8))):
        name = f"{part}-{form.format(what)}"
        content = idx(array)
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return folder


def raw(folder: Path, speakers: tuple[str, ...] = SPEAKERS, each: int = 3) -> Path:
    """Three digits by every speaker, and images."""
    names = [f"{d}_{s}_{i}" for d in range(3) for s in speakers for i in range(each)]
    for seed, name in enumerate(names):
        record(folder / f"recordings/{name}.wav", seed, 0.2 + 0.05 * (seed % 20))
    return mnist(folder)


def prepared(source: Path, location: Path, **dials: int) -> AvDigits:
    data = build(AvDigits, dials, location=location)
    data.prepare(Preparation(source))
    return data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> AvDigits:
    folder = tmp_path_factory.mktemp("digits")
    return prepared(raw(folder / "raw"), folder / "data/av-digits")


def again(data: AvDigits, **dials: int) -> AvDigits:
    return build(AvDigits, dials, location=data.location)


def parts_of(data: AvDigits, protocol: str, fold: int) -> Iterator[Split]:
    splits = data.load(protocol, fold, 0, ("voice", "digit"))
    return iter((splits.train, splits.val, splits.test))


def images_of(data: AvDigits) -> dict[str, bytes]:
    """Recording -> its image, before anything is standardised."""
    table = data.table
    return {one: image.tobytes() for one, image in zip(table.ids, table.values["digit"], strict=True)}


def test_is_registered_and_says_what_it_needs(tmp_path: Path) -> None:
    assert dataset("av-digits") is AvDigits
    with pytest.raises(UserError, match="mcr-bench data prepare av-digits --source DIR") as caught:
        AvDigits(tmp_path / "av-digits").facts()
    for word in ("CC BY-SA 4.0", "CC BY-SA 3.0", "t10k-images-idx3-ubyte", "DIGIT_SPEAKER_INDEX.wav"):
        assert word in str(caught.value)


def test_facts_and_a_recording_by_hand(data: AvDigits) -> None:
    facts = data.facts()
    assert facts.class_names == tuple("0123456789")
    assert facts.task.classes == 10
    assert {m: one.shape for m, one in facts.modalities.items()} == {"voice": (101, 40), "digit": (1, 28, 28)}
    assert data.table.values["voice"].shape == (36, 101, 40)
    quiet = data.table.values["voice"][data.table.ids.index("0_ann_0")]  # 0.2 s, then silence
    assert np.allclose(quiet[25:], np.log(1e-6))
    assert quiet[:20].min() > -10
    assert data.table.ids == sorted(data.table.ids)
    assert data.table.target.tolist() == [int(one[0]) for one in data.table.ids]


def test_folds_of_speakers_test_each_once(data: AvDigits) -> None:
    protocol = data.protocols()["speakers"]
    assert protocol.folds == (1, 2, 3, 4)
    for fold in protocol.folds:
        train, val, test = (set(part.groups or []) for part in parts_of(data, "speakers", fold))
        assert (test, val) == ({SPEAKERS[fold - 1]}, {SPEAKERS[fold - 2]})
        assert train == set(SPEAKERS) - test - val


def test_random_folds_deal_every_class_evenly_and_test_each_recording_once(data: AvDigits) -> None:
    tested = []
    for fold in data.protocols()["random"].folds:
        train, val, test = parts_of(data, "random", fold)
        assert {len(val), len(test)} <= {6, 9}
        assert len(train) + len(val) + len(test) == 36
        tested += test.ids
        counts = np.bincount(test.target.numpy())
        assert counts.max() - counts.min() <= 1
    assert sorted(tested) == data.table.ids
    assert np.bincount(blocks(np.array([4] * 11 + [7] * 3))).tolist() == [4, 3, 3, 2, 2]


@pytest.mark.parametrize(("protocol", "fold", "says"), [("speaker", 1, "speakers"), ("speakers", 5, "folds 1 to 4")])
def test_unknown_protocols_and_folds_are_refused(data: AvDigits, protocol: str, fold: int, says: str) -> None:
    with pytest.raises(UserError, match=says):
        data.load(protocol, fold, 0, ("voice",))


@pytest.mark.parametrize("pairing", [0, 7])
def test_an_image_has_the_class_of_its_recording_and_no_other_recording(data: AvDigits, pairing: int) -> None:
    images = images_of(again(data, pairing=pairing))
    assert len(set(images.values())) == 36
    for one, image in images.items():
        assert np.frombuffer(image, np.float32).reshape(28, 28)[14, 14] == int(one[0])


def test_the_pairing_is_a_dial_and_the_same_for_every_seed_fold_and_protocol(data: AvDigits) -> None:
    first, other = again(data), again(data, pairing=1)
    assert images_of(first) == images_of(data)
    assert sum(images_of(first)[one] != images_of(other)[one] for one in images_of(first)) > 20
    assert np.array_equal(
        first.load("random", 1, 0, ("digit",)).test.values["digit"],
        first.load("random", 1, 5, ("digit",)).test.values["digit"],
    )
    assert other.acting({"pairing": 1}) == {"pairing": 1}
    assert other.fingerprint() == first.fingerprint()


def test_too_few_images_of_a_class_are_an_error() -> None:
    with pytest.raises(UserError, match=r"digit 4: 3 recordings and only 2 images.*other part"):
        paired(np.array([4, 4, 1, 4]), np.array([4, 1, 4]), 0)


@pytest.mark.parametrize(
    ("form", "place"), [("{}-ubyte.gz", "MNIST/raw"), ("{}-ubyte", "images"), ("{}-ubyte.gz", "."), ("dotted", "a/b")]
)
def test_the_forms_in_which_people_have_the_files(data: AvDigits, tmp_path: Path, form: str, place: str) -> None:
    if form == "dotted":
        for path in mnist(tmp_path / "raw" / place).iterdir():
            path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    else:
        mnist(tmp_path / "raw" / place, form=form)
    if place == "MNIST/raw":
        mnist(tmp_path / "raw" / place)  # plain beside packed, as torchvision leaves them
    record(tmp_path / "raw/free-spoken-digit-dataset/recordings/7_Ann_b_12.wav", 0)
    arrays = dict(np.load(data.file))
    images = read_images(tmp_path / "raw")
    assert np.array_equal(images.images, arrays["image"])
    assert np.array_equal(images.labels, arrays["image_label"])
    (clip,) = scan(tmp_path / "raw").clips
    assert (clip.id, clip.label, clip.group) == ("7_Ann_b_12", 7, "Ann_b")


def test_images_of_the_training_part_are_used_too(data: AvDigits, tmp_path: Path) -> None:
    sound = data.location.parent.parent / "raw/recordings"
    source = mnist(mnist(tmp_path / "raw", count=60), "train", 60, start=1000)
    (source / "recordings").symlink_to(sound)
    one = prepared(source, tmp_path / "data")
    assert "120 images" in "\n".join(one.remarks())
    numbers = {int(image[0, 0] + 251 * image[1, 1]) for image in one.table.values["digit"].reshape(-1, 28, 28)}
    assert min(numbers) < 60
    assert max(numbers) >= 1000


def test_broken_recordings_are_left_out_by_name_and_reason(tmp_path: Path) -> None:
    source = raw(tmp_path / "raw", SPEAKERS[:3], each=2)
    sound = source / "recordings"
    content = (sound / "0_ann_0.wav").read_bytes()
    (sound / "0_ann_0.wav").write_bytes(content[: len(content) // 2])
    (sound / "0_ann_1.wav").write_bytes(b"")
    (sound / "1_ben_0.wav").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    (sound / "notes_of_9.wav").write_bytes(content)
    with wave.open(str(sound / "1_ben_1.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(4000))
    data = AvDigits(tmp_path / "av-digits")
    report = data.prepare(Preparation(source))
    assert report.startswith("14 of 3000 clips")
    for name, reason in (
        *(("0_ann_0", "truncated"), ("0_ann_1", "empty"), ("1_ben_0", "git-LFS pointer"), ("1_ben_1", "no sound")),
        ("notes_of_9.wav", "not named DIGIT_SPEAKER_INDEX.wav"),
    ):
        assert any(line.startswith("left out") and name in line and reason in line for line in report.splitlines())
    assert len(data.inventory().left_out) == 5
    assert "0_ann_0" not in data.table.ids
    assert "Up to date" in data.prepare(Preparation(source))


def test_verifying_finds_no_leak_between_speakers_and_damage(data: AvDigits, tmp_path: Path) -> None:
    result = verification_of(data, True)
    assert result.damaged == []
    arrays = dict(np.load(data.file))
    other = AvDigits(tmp_path / "av-digits")
    prepared(data.location.parent.parent / "raw", other.location)
    arrays["image"] = arrays["image"][::-1]
    np.savez(other.file, **arrays)
    assert len(verification_of(AvDigits(other.location), True).damaged or ()) == 36


def test_two_speakers_leave_the_random_protocol(tmp_path: Path) -> None:
    data = prepared(raw(tmp_path / "raw", SPEAKERS[:2]), tmp_path / "av-digits")
    assert list(data.protocols()) == ["random"]
    assert [len(part) for part in parts_of(data, "random", 3)] == [12, 3, 3]


def empty(source: Path) -> None:
    for path in [*source.rglob("*.wav"), *source.glob("t10k*")]:
        path.unlink()


def no_images(source: Path) -> None:
    for path in source.glob("t10k*"):
        path.unlink()


def no_labels(source: Path) -> None:
    (source / "t10k-labels-idx1-ubyte").unlink()


def cut(source: Path) -> None:
    path = source / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1000])


def cut_packed(source: Path) -> None:
    no_images(source)
    path = mnist(source, form="{}-ubyte.gz") / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-200])


def exchanged(source: Path) -> None:
    images, labels = source / "t10k-images-idx3-ubyte", source / "t10k-labels-idx1-ubyte"
    content = images.read_bytes()
    images.write_bytes(labels.read_bytes())
    labels.write_bytes(content)


def of_another_part(source: Path) -> None:
    (source / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(60_000, np.uint8)))


def large(source: Path) -> None:
    (source / "t10k-images-idx3-ubyte").write_bytes(idx(np.zeros((90, 32, 32), np.uint8)))


def letters(source: Path) -> None:
    (source / "t10k-labels-idx1-ubyte").write_bytes(idx(np.full(90, 26, np.uint8)))


def page(source: Path) -> None:
    (source / "t10k-labels-idx1-ubyte").write_bytes(b"<!DOCTYPE html><html><body>404</body></html>")


def twice(source: Path) -> None:
    mnist(source / "MNIST/raw")


def two_folders(source: Path) -> None:
    record(source / "more/0_ann_0.wav", 0)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (empty, r"holds no recordings of spoken digits\. Expected:\nSOURCE/"),
        (no_images, r"holds no images of MNIST\. Expected"),
        (no_labels, r"t10k-images-idx3-ubyte' has no labels beside it"),
        (cut, r"t10k-images-idx3-ubyte' is truncated: it has 69,560 bytes of 70,560"),
        (cut_packed, r"t10k-images-idx3-ubyte\.gz' cannot be read .*truncated"),
        (exchanged, r"has 1 axes, expected 3\. Are images and labels exchanged"),
        (of_another_part, r"holds 90 images and .* 60,000 labels"),
        (large, r"holds images of \(32, 32\), expected \(28, 28\)"),
        (letters, r"holds the label 26; allowed: 0 to 9"),
        (page, r"is a web page, not an idx file"),
        (twice, r"are the same part of MNIST\. Keep one"),
        (two_folders, r"both hold recordings\. Keep one"),
    ],
)
def test_wrong_folders_and_files_are_named(tmp_path: Path, spoil: object, says: str) -> None:
    source = raw(tmp_path / "raw", SPEAKERS[:1], each=1)
    spoil(source)  # type: ignore[operator]
    with pytest.raises(UserError, match=says):
        AvDigits(tmp_path / "av-digits").prepare(Preparation(source))
    assert not (tmp_path / "av-digits").exists()


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no recordings"):
        AvDigits(tmp_path / "av-digits").prepare(Preparation(tmp_path / "nowhere"))


@pytest.mark.parametrize("shape", [(3,), (2, 3), (4, 1, 2)])
def test_idx_files_give_what_was_written(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(256, size=shape).astype(np.uint8)
    (tmp_path / "a").write_bytes(idx(array))
    (tmp_path / "b").write_bytes(gzip.compress(idx(array)))
    assert np.array_equal(read_idx(tmp_path / "a", len(shape)), array)
    assert np.array_equal(read_idx(tmp_path / "b", len(shape)), array)


@real
def test_the_real_recordings_and_images(tmp_path: Path) -> None:
    clips = scan(REAL).clips
    assert len(clips) == 1200
    assert len(read_images(REAL).images) == 10_000
    source = tmp_path / "raw"
    (source / "recordings").mkdir(parents=True)
    for path in REAL.glob("t10k*"):
        (source / path.name).symlink_to(path)
    for clip in clips:
        if clip.id.endswith("_3"):
            (source / f"recordings/{clip.id}.wav").symlink_to(clip.files["voice"])
    data = prepared(source, tmp_path / "av-digits")
    train, val, test = parts_of(data, "speakers", 6)
    assert [len(part) for part in (train, val, test)] == [40, 10, 10]
    assert set(test.groups or []) == {"yweweler"}
    assert set(val.groups or []) == {"theo"}
    assert len(set(images_of(data).values())) == 60
