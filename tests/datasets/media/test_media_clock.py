"""When a frame is on screen: containers with time stamps of display, and AVI, which only counts coded frames."""

import os
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcr_bench.datasets.media.decode import duration, frame_count, read_every, read_frames
from mcr_bench.tests.support.media.media_files import picture, tone

REAL = Path(os.environ.get("MCR_BENCH_TEST_DATA", "missing"))
RATE = 10
NUMBERS = list(range(13))
CODERS: dict[str, tuple[str, dict[str, str]]] = {  # name -> codec, options
    "mpeg4": ("mpeg4", {}),
    "mpeg4 with B-frames": ("mpeg4", {"bf": "2"}),
    "mpeg4 with one B-frame": ("mpeg4", {"bf": "1"}),
    "h264 with B-frames": ("libx264", {"bf": "3"}),
    "h264 without": ("libx264", {"bf": "0"}),
    "mjpeg": ("mjpeg", {}),
    "msmpeg4": ("msmpeg4", {}),
}


def encode(path: Path, coder: str, numbers: list[int], sound: bool = False, first: int = 0, tag: str = "") -> Path:
    """Pictures of these numbers, each shown at (number + first) / 10 s."""
    import av

    codec, options = CODERS[coder]
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream(codec, rate=RATE, options=options)
        video.width, video.height, video.bit_rate, video.thread_count = 64, 48, 1_000_000, 1
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if tag:
            video.codec_context.codec_tag = tag
        heard: Any = out.add_stream("libmp3lame", rate=44100, layout="mono", format="s16p") if sound else None
        for n in numbers:
            frame = av.VideoFrame.from_ndarray(picture(n), format="rgb24")
            frame.pts, frame.time_base = n + first, Fraction(1, RATE)
            out.mux(video.encode(frame))
        out.mux(video.encode())
        if heard:
            wave = (tone(1.3, 44100) * 32767).astype(np.int16)[None]
            block = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
            block.sample_rate, block.pts = 44100, 0
            out.mux(heard.encode(block))
            out.mux(heard.encode())
    return path


def seen(path: Path, times: list[float]) -> list[int]:
    """The number of the picture on screen at each time."""
    frames = read_frames(path, times, pad=True).astype(int)
    return [int(np.argmin([np.abs(frame - picture(n)).mean() for n in NUMBERS])) for frame in frames]


@pytest.mark.parametrize("sound", [False, True], ids=["mute", "with sound"])
@pytest.mark.parametrize("coder", CODERS)
def test_frame_n_of_an_avi_is_on_screen_at_n_over_the_rate(tmp_path: Path, coder: str, sound: bool) -> None:
    """mp3 starts before second 0, for which ffmpeg's writer leaves an empty place after the first frame."""
    clip = encode(tmp_path / "a.avi", coder, NUMBERS, sound)
    assert seen(clip, [n / RATE for n in NUMBERS]) == NUMBERS
    assert seen(clip, [0.05, 0.55, 1.25]) == [0, 5, 12]
    assert duration(clip) == pytest.approx(1.3)
    assert frame_count(clip) == 13


@pytest.mark.parametrize("tag", ["XVID", "DIVX", "DX50"])
def test_the_name_of_the_coder_does_not_matter(tmp_path: Path, tag: str) -> None:
    clip = encode(tmp_path / "a.avi", "mpeg4 with B-frames", NUMBERS, tag=tag)
    assert seen(clip, [n / RATE for n in NUMBERS]) == NUMBERS


@pytest.mark.parametrize("coder", ["mpeg4", "mpeg4 with B-frames", "h264 with B-frames", "mjpeg"])
@pytest.mark.parametrize("sound", [False, True], ids=["mute", "with sound"])
def test_pictures_that_a_recorder_dropped_keep_their_place(tmp_path: Path, coder: str, sound: bool) -> None:
    clip = encode(tmp_path / "a.avi", coder, [0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 12], sound)
    assert seen(clip, [0.3, 0.45, 0.55, 0.6, 0.9, 1.2]) == [3, 3, 3, 6, 9, 12]


@pytest.mark.parametrize("coder", ["mpeg4", "h264 with B-frames"])
def test_an_avi_starts_at_its_first_frame_and_is_whole(tmp_path: Path, coder: str) -> None:
    clip = encode(tmp_path / "a.avi", coder, NUMBERS[4:], sound=True)
    assert seen(clip, [0, 0.1, 0.8]) == [4, 5, 12]
    assert duration(clip) == pytest.approx(0.9)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("coder", ["mpeg4 with B-frames", "h264 with B-frames"])
def test_time_stamps_of_display_are_kept(tmp_path: Path, suffix: str, coder: str) -> None:
    clip = encode(tmp_path / f"a{suffix}", coder, [0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 12])
    assert seen(clip, [0, 0.3, 0.55, 0.6, 1.25]) == [0, 3, 3, 6, 12]
    late = encode(tmp_path / f"late{suffix}", coder, NUMBERS[3:], sound=suffix != ".mov")
    if suffix != ".mov":  # the clock of the file starts with its sound
        assert seen(late, [0, 0.3, 0.45, 1.2]) == [3, 3, 4, 12]


def test_an_edit_that_cuts_the_start_away_is_kept(tmp_path: Path) -> None:
    """The list of edits begins at the sixth of the coded pictures, in a file whose first entry allows for B-frames."""
    clip = encode(tmp_path / "a.mp4", "h264 with B-frames", NUMBERS)
    content = bytearray(clip.read_bytes())
    at = content.index(b"elst") + 12
    _, delay = struct.unpack(">Ii", content[at : at + 8])
    content[at : at + 8] = struct.pack(">Ii", 800, delay + 5 * 10240 // RATE)
    clip.write_bytes(content)
    assert seen(clip, [0, 0.1, 0.25, 0.7]) == [5, 6, 7, 12]


def test_a_clock_that_starts_late_is_set_back(tmp_path: Path) -> None:
    clip = encode(tmp_path / "a.mkv", "h264 with B-frames", NUMBERS, first=100)
    assert seen(clip, [0, 0.5, 1.2]) == [0, 5, 12]


@pytest.mark.skipif(not (REAL / "ucf101").is_dir(), reason="MCR_BENCH_TEST_DATA has no ucf101 folder")
def test_genuine_avi_with_frames_that_are_coded_ahead() -> None:
    """25 frames a second, B-frames, no time stamps of display."""
    path = REAL / "ucf101/UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"
    times = [0, 0.04, 0.12, 0.16, 1.04]
    assert (read_frames(path, times) == read_every(path, 1, 27)[[0, 1, 3, 4, 26]]).all()
