"""Frames that are black, of one colour, or all the same: told, and the clip is kept."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mcr_bench.datasets.media.decode import Unusable, frame_count, read_every, read_frames
from mcr_bench.datasets.media.pictures import read_picture
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
