"""Frames that are black, of one colour, or all the same: told, and the clip is kept."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mcr_bench.datasets.media.decode import Unusable, frame_count, read_every, read_frames
from mcr_bench.datasets.media.endings import is_cut
from mcr_bench.datasets.media.pictures import read_picture, read_pictures
from mcr_bench.datasets.media.reasons import collected
from mcr_bench.tests.support.media.media_files import CODECS, picture, write_clip

Pictures = list[NDArray[np.uint8]]
NOISE = np.random.default_rng(0)
WIDTH, HEIGHT = 160, 128


def flat(*colour: int) -> NDArray[np.uint8]:
    return np.full((HEIGHT, WIDTH, 3), colour, np.uint8)


def scene(n: int = 0) -> NDArray[np.uint8]:
    return picture(n, WIDTH, HEIGHT)


def mouth(n: int) -> NDArray[np.uint8]:
    """A scene that stands still but for a patch of 1 % of its area."""
    result = scene()
    result[80:94, 70:84] = 60 + 40 * (n % 2)
    return result


def write(path: Path, pictures: Pictures) -> Path:
    """Two frames a second."""
    import av

    codec, pixels, *_ = CODECS[path.suffix]
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream(codec, rate=2)
        video.width, video.height, video.pix_fmt, video.bit_rate = WIDTH, HEIGHT, pixels, 2_000_000
        video.thread_count = 1
        for n, image in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 2)
            out.mux(video.encode(frame))
        out.mux(video.encode())
    return path


def dark(_: int) -> NDArray[np.uint8]:
    """Black as a camera sees it: noise up to 30 of 255."""
    return NOISE.integers(0, 30, (HEIGHT, WIDTH, 3)).astype(np.uint8)


CASES: dict[str, tuple[Pictures, list[str]]] = {
    "black": ([flat(0, 0, 0)] * 6, ["all of its 3 frames are black"]),
    "dark noise": ([dark(n) for n in range(6)], ["all of its 3 frames are black"]),
    "black at first": ([flat(0, 0, 0)] * 2 + [scene(n) for n in range(4)], ["1 of its 3 frames is black"]),
    "green": ([flat(0, 200, 0)] * 6, ["all of its 3 frames are of one colour"]),
    "a flash of white": (
        [scene(0), scene(0), flat(255, 255, 255), flat(255, 255, 255), scene(9), scene(9)],
        ["1 of its 3 frames is of one colour"],
    ),
    "frozen": ([scene()] * 6, ["frozen: its frames do not differ"]),
    "moving": ([scene(n) for n in range(6)], []),
    "a mouth that moves": ([mouth(n // 2) for n in range(6)], []),
}


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".flv"])
@pytest.mark.parametrize("name", CASES)
def test_what_is_odd_about_frames_is_told(tmp_path: Path, name: str, suffix: str) -> None:
    pictures, told = CASES[name]
    clip = write(tmp_path / f"a{suffix}", pictures)
    for read in (lambda: read_frames(clip, [0, 1, 2]), lambda: read_every(clip, 2, 3)):
        with collected() as result:
            assert len(read()) == 3
        assert result == told


def test_a_frame_that_is_repeated_after_the_end_is_no_finding(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "short.mp4", seconds=0.3)
    with collected() as result:
        read_frames(clip, [0, 1, 2, 3], pad=True)
    assert result == []


def test_outside_of_preparing_nothing_is_told(tmp_path: Path) -> None:
    assert read_frames(write(tmp_path / "a.mp4", [flat(0, 0, 0)] * 2), [0]).max() <= 3


def test_a_kind_of_picture_that_no_decoder_knows_is_unusable(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    path.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    for read in (read_picture, frame_count):
        with pytest.raises(Unusable, match=r"no decoder here|cannot be decoded"):
            read(path)


def extracted(folder: Path, names: list[str]) -> Path:
    """A folder of one picture after the other under these names: the n-th is picture number n."""
    folder.mkdir()
    for n, name in enumerate(names):
        cv2.imwrite(str(folder / name), picture(n)[..., ::-1])
    return folder


def numbers(folder: Path, times: list[float], rate: float = 1.0) -> list[int]:
    frames = read_pictures(folder, times, rate).astype(int)
    return [int(np.argmin([np.abs(frame - picture(n)).mean() for n in range(12)])) for frame in frames]


@pytest.mark.parametrize(
    "names",
    [
        ["00001.png", "00002.png", "00003.png", "00004.png"],
        ["a-9.png", "a-10.png", "a-11.png", "a-12.png"],
        ["f0.png", "f25.png", "f50.png", "f75.png"],
        ["t_000.png", "t_033.png", "t_067.png", "t_100.png"],
        ["a.png", "b.png", "c.png", "d.png"],
        ["f_0_0.png", "f_1_0.png", "f_2_1.png", "f_3_1.png"],
        ["0_224x224.png", "1_224x224.png", "2_224x224.png", "3_224x224.png"],
        ["00.png", "10.png", "20.png", "21.png"],
        ["s0_0.png", "s0_1.png", "s1_0.png", "s1_1.png"],
        ["0.0.png", "0.5.png", "1.0.png", "1.5.png"],
    ],
)
def test_pictures_are_shown_in_the_order_of_their_numbers(tmp_path: Path, names: list[str]) -> None:
    folder = extracted(tmp_path / "clip", names)
    assert numbers(folder, [0.0, 1.0, 2.5, 3.0]) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["00001.png", "00003.png", "00004.png"], "clip: a picture is missing after '00001.png'.*Copy it again"),
        (["a8.png", "a9.png", "a10.png", "a12.png"], "clip: a picture is missing after 'a10.png'"),
        (["f0.png", "f25.png", "f75.png"], "clip: a picture is missing after 'f25.png'"),
        (["1.png", "2.jpg", "2.png", "3.png"], "clip: has one picture twice, as '2.jpg' and as '2.png'. Delete one"),
        (["1.png", "01.png", "2.png"], "one picture twice, as '01.png' and as '1.png'"),
    ],
)
def test_pictures_that_would_be_shown_at_the_time_of_others_are_refused(
    tmp_path: Path, names: list[str], message: str
) -> None:
    folder = extracted(tmp_path / "clip", names)
    with pytest.raises(Unusable, match=message):
        read_pictures(folder, [0.0, 1.0], 1.0)


@pytest.mark.parametrize(("fps", "kept"), [(25, 10), (29, 10), (30, 8), (24, 5), (15, 4), (25, 4), (30, 10), (25, 1)])
def test_scripts_that_begin_anew_each_second_leave_no_gap(tmp_path: Path, fps: int, kept: int) -> None:
    """As OGM-GE's script numbers what it keeps: every fps // kept-th frame, `kept` of each second."""
    inside = [second * fps + n * (fps // kept) for second in range(3) for n in range(kept)][:12]
    folder = extracted(tmp_path / "clip", [f"{number:05}.png" for number in inside])
    assert numbers(folder, [n / kept for n in range(len(inside))], kept) == list(range(len(inside)))
    if kept > 2:
        (folder / f"{inside[1]:05}.png").unlink()
        with pytest.raises(Unusable, match="a picture is missing after"):
            read_pictures(folder, [0.0], kept)


def test_a_picture_without_a_number_beside_others_is_named(tmp_path: Path) -> None:
    folder = extracted(tmp_path / "clip", ["thumb.png", "1.png", "2.png"])
    with pytest.raises(Unusable, match=r"clip: 'thumb\.png' has no number in its name"):
        read_pictures(folder, [0.0], 1.0)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="clip: the folder has no picture"):
        read_pictures(extracted(tmp_path / "clip", []), [0.0], 1.0)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("seed", range(4))
def test_a_photo_is_whole_whatever_follows_it_and_cut_without_its_end(tmp_path: Path, suffix: str, seed: int) -> None:
    """Phones append a film to a photo, and leave the rest of a screenshot behind a smaller one."""
    draws = np.random.default_rng(seed)
    image = draws.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    path = tmp_path / f"photo{suffix}"
    cv2.imwrite(str(path), image)
    whole = path.read_bytes()
    expected = read_picture(path)
    assert expected.shape == (40, 50, 3)
    path.write_bytes(whole + draws.bytes(400_000))
    assert np.array_equal(read_picture(path), expected)
    for left in (0.5, 0.9):
        path.write_bytes(whole[: int(left * len(whole))])
        with pytest.raises(Unusable, match=r"is truncated|cannot be decoded"):
            read_picture(path)


def test_the_thumbnail_of_a_photo_is_not_its_end() -> None:
    thumbnail = b"\xff\xd8\xff\xda\x00\x02x\xff\xd9"
    inside = b"\xff\xe1" + (2 + len(thumbnail)).to_bytes(2, "big") + thumbnail
    scan = b"\xff\xda\x00\x02abc\xff\x00def\xff\xd0ghi"
    assert is_cut(b"\xff\xd8" + inside + scan)
    assert not is_cut(b"\xff\xd8" + inside + scan + b"\xff\xd9")


def test_a_picture_in_the_working_folder_is_named_without_a_slash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    extracted(tmp_path / "clip", ["m.jpg"])
    cut = Path("m.jpg")
    cut.write_bytes((tmp_path / "clip" / "m.jpg").read_bytes()[:-200])
    with pytest.raises(Unusable, match=r"^m\.jpg: is truncated"):
        read_picture(cut)
