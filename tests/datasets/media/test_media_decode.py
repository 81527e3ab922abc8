"""Decoding: what was encoded comes back, at the right time and rate; every bad file says what is wrong with it."""

import os
import random
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mcr_bench.datasets.media.decode import (
    Unusable,
    aspect,
    duration,
    fit,
    frame_count,
    read_audio,
    read_every,
    read_frames,
    read_numbered,
)
from mcr_bench.tests.support.media.media_files import (
    CODECS,
    frequency,
    lfs_pointer,
    picture,
    truncate,
    write_audio,
    write_clip,
)

REAL = Path(os.environ.get("MCR_BENCH_TEST_DATA", "missing"))
LOSSY = 6  # mean absolute error of 8-bit pixels after encoding
SUFFIXES = sorted(CODECS)


def error(frame: np.ndarray, number: int, seed: int = 0) -> float:
    return float(np.abs(frame.astype(int) - picture(number, seed=seed)).mean())


def loudest(sound: np.ndarray, rate: int) -> float:
    """Hertz of the strongest frequency."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(np.argmax(spectrum) * rate / len(sound))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_frames_by_number_are_those_that_were_encoded(tmp_path: Path, suffix: str) -> None:
    clip = write_clip(tmp_path / f"a{suffix}", seconds=2, seed=3)
    frames = read_every(clip, stride=5, count=5, start=2)
    assert (frames.shape, frames.dtype) == ((5, 48, 64, 3), np.uint8)
    numbers = [2, 7, 12, 17, 19]  # the last of the twenty stands for 22
    assert [error(f, n, 3) < LOSSY for f, n in zip(frames, numbers, strict=True)] == [True] * 5
    assert error(frames[0], 3, 3) > 2 * error(frames[0], 2, 3)  # the neighbour is told apart


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_frames_by_time_are_on_screen_at_that_time(tmp_path: Path, suffix: str) -> None:
    clip = write_clip(tmp_path / f"a{suffix}", seconds=2, audio=False)
    frames = read_frames(clip, [1.55, 0, 0.55, 0])
    assert [int(np.argmin([error(f, n) for n in range(20)])) for f in frames] == [15, 0, 5, 0]


def test_a_time_after_the_end_is_an_error_or_the_last_frame(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", seconds=1)
    with pytest.raises(Unusable, match=r"a\.mp4: ends after 1\.00 s; a frame at 1\.5 s is needed"):
        read_frames(clip, [0, 1.5])
    frames = read_frames(clip, [0.95, 1.5], pad=True)
    assert (frames[0] == frames[1]).all()
    assert error(frames[1], 9) < LOSSY


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_frame_count_and_duration(tmp_path: Path, suffix: str) -> None:
    clip = write_clip(tmp_path / f"a{suffix}", seconds=1.5)
    assert frame_count(clip) == 15
    assert duration(clip) == pytest.approx(1.5, abs=0.11)


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.avi", "a.mp4", "a.flv"])
@pytest.mark.parametrize("rate", [16000, 22050])
def test_sound_keeps_length_pitch_and_loudness(tmp_path: Path, name: str, rate: int) -> None:
    write = write_audio if name.endswith(("wav", "mp3")) else write_clip
    sound = read_audio(write(tmp_path / name, seconds=2, seed=7), rate)
    assert (sound.dtype, sound.ndim) == (np.float32, 1)
    assert len(sound) / rate == pytest.approx(2, abs=0.12)  # codecs of blocks add up to two of them
    middle = sound[rate // 2 : rate]
    assert loudest(middle, rate) == pytest.approx(frequency(7), abs=2.1)
    assert np.abs(middle).max() == pytest.approx(0.5, abs=0.06)


def test_a_part_of_the_sound_is_that_part(tmp_path: Path) -> None:
    path = tmp_path / "steps.wav"
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
        out.writeframes(np.repeat([0, 8192, 16384], 16000).astype("<i2").tobytes())
    part = read_audio(path, 16000, start=0.5, seconds=1)
    assert part.tolist() == [0] * 8000 + [0.25] * 8000
    assert read_audio(path, 16000, start=2.5, seconds=9).tolist() == [0.5] * 8000
    with pytest.raises(Unusable, match=r"steps\.wav: its sound ends before 3 s"):
        read_audio(path, 16000, start=3, seconds=1)


def test_channels_are_averaged_whatever_their_layout(tmp_path: Path) -> None:
    path = tmp_path / "two.wav"
    with wave.open(str(path), "wb") as out:
        out.setparams((2, 2, 8000, 0, "NONE", ""))
        out.writeframes(np.tile(np.array([16384, -8192], "<i2"), 800).tobytes())
    assert read_audio(path, 8000).tolist() == [0.125] * 800


def test_sound_above_the_new_limit_does_not_fold_back(tmp_path: Path) -> None:
    path = tmp_path / "high.wav"
    at = np.arange(44100) / 44100
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 44100, 0, "NONE", ""))
        out.writeframes((16384 * np.sin(2 * np.pi * 10_000 * at)).astype("<i2").tobytes())
    assert np.abs(read_audio(path, 16000)[1000:-1000]).max() < 0.005  # 40 dB down; folded it would be 6 kHz at 0.5
    assert np.abs(read_audio(path, 22050)[1000:-1000]).max() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("suffix", [".avi", ".flv", ".mp4"])
def test_decoding_twice_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    clip = write_clip(tmp_path / f"a{suffix}", seconds=2, seed=5)
    for read in (lambda: read_audio(clip, 22050), lambda: read_frames(clip, [0, 1, 2], pad=True)):
        assert read().tobytes() == read().tobytes()
    frames = read_frames(clip, [0, 1])
    assert fit(frames, 32).tobytes() == fit(frames, 32).tobytes()


def test_other_seeds_are_other_content(tmp_path: Path) -> None:
    one, other = (write_clip(tmp_path / f"{seed}.mp4", seed=seed) for seed in (1, 2))
    assert read_frames(one, [0]).tobytes() != read_frames(other, [0]).tobytes()
    assert read_audio(one, 16000).tobytes() != read_audio(other, 16000).tobytes()


def test_fitting_squashes_the_whole_frame() -> None:
    frames = np.zeros((1, 4, 8, 3), np.uint8)
    frames[:, :, :4, 0] = 200
    frames[:, 2:, :, 1] = 100
    squares = fit(frames, 2)
    assert squares.shape == (1, 3, 2, 2)
    assert squares[0].tolist() == [[[200, 0], [200, 0]], [[0, 0], [100, 100]], [[0, 0], [0, 0]]]
    assert fit(frames, 16)[0, 0, :, 0].tolist() == [200] * 16
    assert aspect(frames) == 2


READERS: dict[str, Callable[[Path], object]] = {
    "sound": lambda path: read_audio(path, 16000),
    "frames by time": lambda path: read_frames(path, [0, 1.9], pad=True),
    "frames by number": lambda path: read_every(path, 8, 16),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated_clips_are_unusable(tmp_path: Path, suffix: str, reader: str) -> None:
    clip = truncate(write_clip(tmp_path / f"cut{suffix}", seconds=2))
    with pytest.raises(Unusable, match=rf"^cut\{suffix}: .*(truncated|damaged|no frame can|no audio stream)"):
        READERS[reader](clip)


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".flv"])  # decoders of VP9 tell nothing
def test_a_clip_damaged_in_the_middle_is_unusable(tmp_path: Path, suffix: str) -> None:
    clip = write_clip(tmp_path / f"hit{suffix}", seconds=3, width=160, height=120, audio=False)
    content, draw = bytearray(clip.read_bytes()), random.Random(0)
    start = len(content) // 2
    content[start : start + 1000] = draw.randbytes(1000)
    clip.write_bytes(content)
    with pytest.raises(Unusable, match=rf"^hit\{suffix}: "):
        read_frames(clip, [0, 1, 2.5])


@pytest.mark.parametrize("suffix", [".wav", ".mp3"])
def test_sound_that_was_copied_in_text_mode_is_told_as_that(tmp_path: Path, suffix: str) -> None:
    path = write_audio(tmp_path / f"a{suffix}", seconds=2)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(Unusable, match=r"copied in text mode\. Copy it again from the source, in binary mode"):
        read_audio(path, 16000)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".flv"])
def test_video_that_was_copied_in_text_mode_is_told_as_that(tmp_path: Path, suffix: str) -> None:
    path = write_clip(tmp_path / f"a{suffix}", seconds=2)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(Unusable, match="text mode"):
        read_frames(path, [0.5])


def test_a_web_page_in_place_of_a_clip_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("\n<!DOCTYPE HTML>\r\n<html>Video unavailable</html>")
    with pytest.raises(Unusable, match="a web page, not the recording"):
        read_frames(tmp_path / "a.mp4", [0])


@pytest.mark.parametrize("suffix", [".wav", ".mp3"])
def test_truncated_sound_is_unusable(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(Unusable, match=r"truncated, it has .*\. Copy it again"):
        read_audio(truncate(write_audio(tmp_path / f"a{suffix}", seconds=2)), 16000)


def test_a_clip_without_sound_or_frames_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match=r"mute\.avi: no audio stream"):
        read_audio(write_clip(tmp_path / "mute.avi", audio=False), 16000)
    with pytest.raises(Unusable, match=r"a\.wav: no video stream"):
        read_frames(write_audio(tmp_path / "a.wav"), [0])


@pytest.mark.parametrize("reader", READERS)
def test_pointers_empty_foreign_and_absent_files_are_unusable(tmp_path: Path, reader: str) -> None:
    (tmp_path / "empty.flv").touch()
    (tmp_path / "noise.flv").write_bytes(np.random.default_rng(0).bytes(5000))
    lfs_pointer(tmp_path / "pointer.flv")
    reasons = {"empty": "is empty", "noise": "cannot be decoded", "pointer": "git lfs pull", "absent": "cannot be read"}
    for name, reason in reasons.items():
        with pytest.raises(Unusable, match=f"^{name}.flv: .*{reason}") as caught:
            READERS[reader](tmp_path / f"{name}.flv")
        assert str(tmp_path) not in str(caught.value)  # reasons are kept in a manifest that knows no folders


def test_a_sound_without_a_sample_is_unusable(tmp_path: Path) -> None:
    path = tmp_path / "none.wav"
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
    with pytest.raises(Unusable, match=r"none\.wav: .*(no sound|cannot be decoded)"):
        read_audio(path, 16000)


def test_a_playlist_does_not_lead_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(Unusable, match=r"cannot be decoded|no video stream"):
        read_frames(path, [0])


real = pytest.mark.skipif(not (REAL / "cremad").is_dir(), reason="MCR_BENCH_TEST_DATA has no cremad folder")


@real
@pytest.mark.parametrize("at", range(6))
def test_genuine_flash_video(at: int) -> None:
    clip = sorted((REAL / "cremad/VideoFlash").iterdir())[at]
    frames = read_frames(clip, [0, 1, 2], pad=True)
    assert frames.shape == (3, 360, 480, 3)
    assert np.abs(frames[0].astype(int) - frames[1]).mean() > 0.5  # a face that speaks moves
    assert 1.5 < duration(clip) < 3
    assert frame_count(clip) == pytest.approx(duration(clip) * 29.97, abs=1.5)


@real
def test_genuine_sound_is_the_same_from_flash_video_and_wav() -> None:
    """The .wav of this clip was resampled from the sound of the .flv."""
    name = "1001_DFA_ANG_XX"
    both = [REAL / f"cremad/VideoFlash/{name}.flv", REAL / f"cremad/AudioWAV/{name}.wav"]
    flash, plain = (read_audio(path, 16000) for path in both)
    short = min(len(flash), len(plain)) - 2000
    shifts = [float(np.corrcoef(flash[1000 + s :][:short], plain[1000:][:short])[0, 1]) for s in range(-900, 900, 4)]
    assert max(shifts) > 0.9


def test_the_last_frame_by_its_number_is_no_frame_beyond_the_end(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", seconds=1, audio=False)
    count = frame_count(path)
    assert len(read_numbered(path, [0, count - 1], pad=False)) == 2
    with pytest.raises(Unusable, match=rf"a\.mp4: has {count} frames; frame {count} from 0 is needed"):
        read_numbered(path, [0, count], pad=False)
    assert len(read_numbered(path, [0, count])) == 2
