"""Tables that name pictures, videos and sound: what is decoded, which files count, and which are refused."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.arrays import Arrays
from mcr_bench.datasets.folders import kept, media
from mcr_bench.datasets.folders.media import shape_of
from mcr_bench.tests.support.inputs.array_folders import described
from mcr_bench.tests.support.media.media_files import truncate, write_audio, write_clip

COUNT = 6
PICTURES = np.random.default_rng(0).integers(0, 256, (COUNT, 16, 12, 3)).astype(np.uint8)
TOML = """file = "all.csv"
label = "y"
split = "part"

[modalities]
face = { image = "photo", size = 12 }
voice = { sound = "wav", seconds = 0.5, present = "has" }
scene = { video = "clip", frames = 3, size = 16 }
"""


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path / "home"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six samples of a picture, a sound and a clip; the third and the last lack the sound."""
    folder = described(tmp_path / "mine", TOML)
    lines = ["photo,wav,has,clip,y,part"]
    for row in range(COUNT):
        cv2.imwrite(str(folder / f"{row}.png"), PICTURES[row, :12, :, ::-1])
        write_clip(folder / "clips" / f"{row}.mp4", seconds=0.4, seed=row, audio=False)
        has = row % 3 != 2
        if has:
            write_audio(folder / f"{row}.wav", seconds=0.3, seed=row)
        part = ("train", "val", "test")[row // 2]
        lines.append(f"{row}.png,{f'{row}.wav' if has else ''},{int(has)},clips/{row}.mp4,{row % 2},{part}")
    (folder / "all.csv").write_text("\n".join(lines))
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        Arrays(folder).facts()
    return str(caught.value)


def test_what_is_decoded(folder: Path) -> None:
    data = Arrays(folder)
    shapes = {m: (one.shape, one.lacked) for m, one in data.facts().modalities.items()}
    assert shapes == {"face": ((3, 12, 12), False), "voice": ((1, 257, 23), True), "scene": ((3, 3, 16, 16), False)}
    assert shape_of("sound", {"rate": 16000, "seconds": 0.5}) == (1, 257, 23)
    table = data._table
    assert np.array_equal(table.values["face"], np.moveaxis(PICTURES[:, :12], -1, 1))
    assert table.present["voice"].tolist() == [True, True, False] * 2
    assert not table.values["voice"][2].any()
    assert len(np.unique(table.values["scene"].mean((1, 2, 3, 4)))) == COUNT
    spectrum = table.values["voice"][:, 0].mean(-1)
    assert [int(at) for at in spectrum.argmax(1)[:2]] == [round(hertz * 512 / 16000) for hertz in (300, 340)]
    assert data.load("file", 1, 0, ("face", "voice", "scene")).train.values["scene"].shape == (2, 3, 3, 16, 16)


def test_pictures_are_upright_whatever_they_are_in(folder: Path) -> None:
    turned = Image.Exif()
    turned[274] = 6  # a quarter turn clockwise, as telephones write it
    flat = Image.fromarray(np.repeat(np.uint8([[9, 99], [150, 250]]), 6, 0).repeat(6, 1))
    flat.save(folder / "0.jpg", exif=turned, quality=100)
    flat.convert("RGBA").save(folder / "1.png")
    (folder / "all.csv").write_text((folder / "all.csv").read_text().replace("0.png", "0.jpg"))
    face = Arrays(folder)._table.values["face"]
    assert face[0, :, ::11, ::11].mean(0) == pytest.approx(np.array([[150, 9], [250, 99]]), abs=3)
    assert face[1, :, ::11, ::11].mean(0) == pytest.approx(np.array([[9, 99], [150, 250]]))


def test_every_media_file_is_part_of_the_fingerprint(folder: Path) -> None:
    prints = {Arrays(folder).fingerprint()}
    for path in (folder / "0.png", folder / "1.wav", folder / "clips" / "5.mp4"):
        with path.open("ab") as file:
            file.write(b"\0")
        prints.add(Arrays(folder).fingerprint())
    assert len(prints) == 4


def test_what_took_long_is_decoded_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Path] = []

    def counted(path: Path, settings: object) -> object:
        calls.append(path)
        return image(path, settings)  # type: ignore[arg-type]

    image = media.DECODERS["image"]
    monkeypatch.setitem(media.DECODERS, "image", counted)
    first = Arrays(folder)._table.values
    assert not (tmp_path / "home").exists()
    monkeypatch.setattr(kept, "LONG", -1.0)
    Arrays(folder).facts()
    files = sorted((tmp_path / "home" / "decoded").iterdir())
    assert (len(files), len(calls)) == (3, 2 * COUNT)
    second = Arrays(folder)._table.values
    assert len(calls) == 2 * COUNT
    assert all(np.array_equal(first[m], second[m]) for m in first)
    for file in files:
        file.write_bytes(file.read_bytes()[:-9])
    third = Arrays(folder)._table.values
    assert len(calls) == 3 * COUNT
    assert all(np.array_equal(first[m], third[m]) for m in first)
    described(folder, TOML.replace("size = 12", "size = 11"))
    Arrays(folder).facts()
    assert len(calls) == 4 * COUNT


def test_files_that_cannot_be_used_are_named_by_row(folder: Path, tmp_path: Path) -> None:
    table = (folder / "all.csv").read_text()
    (folder / "1.png").rename(tmp_path / "kept.png")
    assert "'photo', row 1: " in refusal(folder)
    assert "1.png' does not exist. Correct the name, or copy the file there" in refusal(folder)
    (folder / "1.png").write_bytes(b"not a picture")
    assert "modality 'face', row 1: mine/1.png: " in refusal(folder)
    (tmp_path / "kept.png").rename(folder / "1.png")
    truncate(folder / "clips" / "0.mp4")
    assert "modality 'scene', row 0: 0.mp4: " in refusal(folder)
    for name, says in (
        ("../mine/1.png", None),
        ("../../1.png", "leads out of"),
        ("", "is empty at row 1. Name a file"),
    ):
        (folder / "all.csv").write_text(table.replace("1.png", name, 1))
        text = refusal(folder)
        assert says is None or says in text


def test_what_decoding_would_take_is_asked_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCR_BENCH_FILE_MEMORY", "1MB")
    described(folder, TOML.replace("size = 12", "size = 1000"))
    assert "needs 72" in refusal(folder)


def test_files_that_hold_nothing_are_told(folder: Path) -> None:
    plain = Arrays(folder).facts().notes
    for row in (0, 3):
        wavfile.write(folder / f"{row}.wav", 22050, np.zeros(9000, np.int16))
    cv2.imwrite(str(folder / "1.png"), np.zeros((12, 12, 3), np.uint8))
    assert Arrays(folder).facts().notes == (
        *plain,
        "face: 1 of its 6 files is of one colour: row 1",
        "voice: 2 of its 4 files are silent in the part that is used: row 0, 3",
    )
