"""Frames as a player shows them: turned and mirrored by the display matrix, in square pixels, in every reader."""

import io
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mcr_bench.datasets.cache.recipe import Clip
from mcr_bench.datasets.media.decode import Unusable, aspect, read_every, read_frames
from mcr_bench.datasets.media.display import turned
from mcr_bench.datasets.raw import something_raw as _something_raw

WIDTH, HEIGHT = 96, 64
LOSSY = 8  # mean absolute error of 8-bit pixels after encoding
Matrix = tuple[int, int, int, int]
# Each stored picture shows these corners; colours tell every turn and mirror apart.
CORNERS = np.array([[[230, 30, 30], [30, 230, 30]], [[30, 30, 230], [230, 230, 230]]], np.uint8)
LETTERS = np.array([["R", "G"], ["B", "W"]])
SHOWN: dict[str, tuple[Matrix, list[str]]] = {  # a, b, c, d of QuickTime's matrix, and what is seen: by hand
    "as stored": ((1, 0, 0, 1), ["RG", "BW"]),
    "90 clockwise": ((0, 1, -1, 0), ["BR", "WG"]),
    "180": ((-1, 0, 0, -1), ["WB", "GR"]),
    "90 counter-clockwise": ((0, -1, 1, 0), ["GW", "RB"]),
    "left and right": ((-1, 0, 0, 1), ["GR", "WB"]),
    "upside down": ((1, 0, 0, -1), ["BW", "RG"]),
    "rows to columns": ((0, 1, 1, 0), ["RB", "GW"]),
    "rows to columns, turned about": ((0, -1, -1, 0), ["WG", "BR"]),
}


def write(path: Path, pixel: str = "", codec: str = "libx264", moving: bool = False) -> Path:
    """Twenty frames of the corners; pixel: the stated shape of a pixel."""
    import av

    stored = np.kron(CORNERS, np.ones((HEIGHT // 2, WIDTH // 2, 1), np.uint8))
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream(codec, rate=10)
        video.width, video.height, video.pix_fmt, video.bit_rate = WIDTH, HEIGHT, "yuv420p", 2_000_000
        video.thread_count = 1
        if pixel:
            video.codec_context.sample_aspect_ratio = Fraction(pixel)
        for n in range(20):
            frame = av.VideoFrame.from_ndarray(np.roll(stored, n * moving, axis=1), format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 10)
            out.mux(video.encode(frame))
        out.mux(video.encode())
    return path


def with_matrix(path: Path, matrix: Matrix) -> Path:
    """The same mp4 or mov with another matrix in the header of its only track."""
    content = bytearray(path.read_bytes())
    a, b, c, d = (n * 65536 for n in matrix)
    at = content.index(b"tkhd") + 44
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 2**30)
    path.write_bytes(content)
    return path


def corners(picture: NDArray[np.uint8]) -> list[str]:
    """The nearest letters of the four quarters."""
    rows, columns = (np.array([n // 4, 3 * n // 4]) for n in picture.shape[:2])
    seen = picture[rows[:, None], columns].astype(int)
    distance = np.abs(seen[:, :, None] - CORNERS.reshape(4, 3)).sum(-1)
    return ["".join(row) for row in LETTERS.reshape(4)[distance.argmin(-1)].tolist()]


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("name", SHOWN)
def test_a_picture_is_shown_as_its_matrix_says(tmp_path: Path, name: str, suffix: str) -> None:
    matrix, seen = SHOWN[name]
    clip = with_matrix(write(tmp_path / f"a{suffix}"), matrix)
    upright = (HEIGHT, WIDTH) if matrix[0] else (WIDTH, HEIGHT)
    for frames in (read_frames(clip, [0, 1.5]), read_every(clip, 7, 2)):
        assert frames.shape == (2, *upright, 3)
        assert [corners(frame) for frame in frames] == [seen] * 2


def test_a_matrix_that_matroska_keeps(tmp_path: Path) -> None:
    import av

    clip = with_matrix(write(tmp_path / "a.mp4"), SHOWN["180"][0])
    with av.open(str(clip)) as result, av.open(str(tmp_path / "a.mkv"), "w") as out:
        copied = out.add_stream_from_template(result.streams.video[0])
        for packet in result.demux(video=0):
            if packet.dts is not None:
                packet.stream = copied
                out.mux(packet)
    assert corners(read_frames(tmp_path / "a.mkv", [0])[0]) == SHOWN["180"][1]


@pytest.mark.parametrize(
    ("orientation", "name"), [(1, "as stored"), (3, "180"), (6, "90 clockwise"), (8, "90 counter-clockwise")]
)
def test_frames_with_exif_data_as_cameras_write_them(tmp_path: Path, orientation: int, name: str) -> None:
    """PyAV knows no EXIF data in frames. Orientations as the EXIF standard numbers them."""
    import av

    frame = np.kron(CORNERS, np.ones((HEIGHT // 2, WIDTH // 2, 1), np.uint8))
    exif, content = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(frame).save(content, "JPEG", exif=exif, quality=95)
    with av.open(str(tmp_path / "a.avi"), "w") as out:
        video: Any = out.add_stream("mjpeg", rate=10)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        for n in range(20):
            packet = av.Packet(content.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = video, n, n, Fraction(1, 10)
            out.mux(packet)
    assert corners(read_frames(tmp_path / "a.avi", [0.5])[0]) == SHOWN[name][1]


@pytest.mark.parametrize(
    ("matrix", "seen"),
    [
        ((60000, 5000, -5000, 60000), ["RG", "BW"]),  # near no turn
        ((5000, 60000, -60000, -5000), ["BR", "WG"]),  # near a quarter
        ((0, 0, 0, 0), ["RG", "BW"]),  # no matrix at all
        ((65536, 65536, 65536, 65536), ["RG", "BW"]),  # without an inverse
    ],
)
def test_other_matrices_count_as_the_nearest_turn(matrix: Matrix, seen: list[str]) -> None:
    assert corners(turned(np.kron(CORNERS, np.ones((4, 4, 1), np.uint8)), matrix)) == seen


@pytest.mark.parametrize(
    ("pixel", "size"),
    [("4/3", (64, 128)), ("2", (64, 192)), ("1/2", (128, 96)), ("1", (64, 96)), ("16/15", (64, 102))],
)
@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "libx264"), (".avi", "mpeg4"), (".mkv", "mpeg4")])
def test_pixels_are_made_square(tmp_path: Path, pixel: str, size: tuple[int, int], suffix: str, codec: str) -> None:
    frames = read_frames(write(tmp_path / f"a{suffix}", pixel, codec), [0])
    assert frames.shape[1:3] == size
    assert aspect(frames) == pytest.approx(WIDTH / HEIGHT * Fraction(pixel), rel=0.01)
    assert corners(frames[0]) == ["RG", "BW"]


def test_pixels_are_made_square_before_the_picture_is_turned(tmp_path: Path) -> None:
    """96 x 64 stored, pixels twice as wide as high: 192 x 64, and turned 64 x 192."""
    frames = read_frames(with_matrix(write(tmp_path / "a.mp4", "2"), SHOWN["90 clockwise"][0]), [0])
    assert frames.shape[1:3] == (192, 64)
    assert corners(frames[0]) == ["BR", "WG"]


def test_a_shape_of_pixels_that_is_none_is_damage(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match=r"a\.mp4: damaged, its header states pixels of 50 "):
        read_frames(write(tmp_path / "a.mp4", "50"), [0])


@pytest.mark.parametrize("name", ["as stored", "90 clockwise", "left and right"])
def test_flow_and_aspect_are_those_of_the_turned_picture(tmp_path: Path, name: str) -> None:
    """The stored picture moves to the right by one pixel a frame: down after a quarter clockwise, left in a mirror."""
    clip = with_matrix(write(tmp_path / "a.mp4", moving=True), SHOWN[name][0])
    settings = {**_something_raw.SETTINGS, "frames": 2, "stride": 4, "frame_size": 32}
    rows = _something_raw.decode(Clip("a", 0, "a", {"video": clip}), settings)
    right, down = rows["flow"].astype(float).mean(axis=(0, 2, 3)) - 128
    direction = {"as stored": (1, 0), "90 clockwise": (0, 1), "left and right": (-1, 0)}[name]
    along, across = (right, down) if direction[0] else (down, right)
    assert along * sum(direction) > 0.2
    assert abs(across) < abs(along) / 2
    assert float(rows["aspect"]) == pytest.approx(2 / 3 if direction[1] else 3 / 2)
