"""Files whose streams differ in length, whose last picture stays on screen, and sound with gaps in its time stamps."""

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mcr_bench.datasets.media.clock import SoundClock
from mcr_bench.datasets.media.decode import Unusable, duration, read_audio, read_frames
from mcr_bench.tests.support.media.media_files import picture, tone

CODECS = {".mkv": ("libx264", "aac"), ".mp4": ("libx264", "aac"), ".flv": ("flv", "libmp3lame")}
CODECS[".webm"] = ("libvpx-vp9", "libopus")
FPS, RATE = 10, 16000
QUIET, LOUD = 0.05, 0.5


def write(path: Path, pictures: float, sound: float, gap: float = 0.0, loud: float = 9.0, last: float = 0.0) -> Path:
    """Seconds of pictures and of sound, whose packets are `gap` seconds later from second 1 on.

    The sound is loud from `loud` seconds of its samples on; the last picture stays for `last` seconds.
    """
    import av

    codec, coder = CODECS[path.suffix]
    rate = 48000 if coder == "libopus" else 44100
    wave = tone(sound, rate) / 0.5 * np.where(np.arange(round(sound * rate)) < loud * rate, QUIET, LOUD)
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream(codec, rate=FPS, options={"bf": "0"} if codec == "libx264" else {})
        video.width, video.height, video.pix_fmt, video.thread_count = 64, 48, "yuv420p", 1
        heard: Any = out.add_stream(coder, rate=rate, layout="mono")
        packets = []
        for n in range(round(pictures * FPS)):
            frame = av.VideoFrame.from_ndarray(picture(n), format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, FPS)
            packets += video.encode(frame)
        packets += video.encode()
        if last:
            final = max(packets, key=lambda packet: packet.pts)
            final.duration = round(last / final.time_base)
        block = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
        block.sample_rate, block.pts = rate, 0
        resampler = av.AudioResampler(format=heard.codec_context.format, layout="mono", rate=rate)
        parts = [*resampler.resample(block), *resampler.resample(None)]
        sounds = [packet for part in [*parts, None] for packet in heard.encode(part)]
        for packet in sounds:
            late = round(gap / packet.time_base) if packet.pts * packet.time_base >= 1 else 0
            packet.pts, packet.dts = packet.pts + late, packet.dts + late
        for packet in [*packets, *sounds]:
            out.mux(packet)
    return path


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize("gap", [0.3, 0.9])
def test_sound_after_a_gap_is_heard_at_its_time(tmp_path: Path, suffix: str, gap: float) -> None:
    """Loud from second 2 on the clock of the file; where nothing was recorded, it is silent."""
    clip = write(tmp_path / f"a{suffix}", 4.0, 4.0 - gap, gap, loud=2 - gap)
    wave = read_audio(clip, RATE)
    assert int(np.argmax(np.abs(wave) > 0.3)) / RATE == pytest.approx(2.0, abs=0.05)
    assert len(wave) / RATE == pytest.approx(4.0, abs=0.1)
    lost = wave[round(1.1 * RATE) : round((0.95 + gap) * RATE)]
    assert np.abs(lost).max() < 1e-3
    assert np.abs(read_audio(clip, RATE, start=2.1, seconds=0.5)).max() > 0.3
    assert np.abs(read_audio(clip, RATE, start=1.5, seconds=0.4)).max() < 0.1


def test_the_clock_of_sound() -> None:
    """By hand, at 1,000 samples per second: a gap, rounding, an overlap, times that begin anew, and no time."""

    class Container:
        start_time = 2_000_000
        format = SimpleNamespace(name="mov")

    clock = SoundClock(Container())  # type: ignore[arg-type]
    assert clock.ahead(2.5, 100, 1000) == 500  # begins half a second after the clock of the file
    assert clock.ahead(2.6, 100, 1000) == 0
    assert clock.ahead(2.74, 100, 1000) == 0  # rounding: less than 50 ms after the frame before
    assert clock.ahead(3.24, 100, 1000) == 400
    assert clock.ahead(3.27, 100, 1000) == -70  # these samples were there before
    assert clock.ahead(0.0, 100, 1000) == 0  # another recording was joined
    assert clock.ahead(0.3, 100, 1000) == 200
    assert clock.ahead(None, 100, 1000) == 0
    Container.format.name = "avi"
    without = SoundClock(Container())  # type: ignore[arg-type]
    assert [without.ahead(time, 100, 1000) for time in (2.0, 9.0)] == [0, 0]


@pytest.mark.parametrize("stated", [0.0999, 0.1001, 0.104])
def test_a_clock_that_drifts_changes_no_sound(stated: float) -> None:
    """An hour of frames of 100 ms whose times are a little off: no jump is a gap."""

    class Container:
        start_time = 0
        format = SimpleNamespace(name="mov")

    clock = SoundClock(Container())  # type: ignore[arg-type]
    assert not any(clock.ahead(n * stated, 1600, 16000) for n in range(36_000))


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize(("pictures", "sound"), [(2.0, 4.0), (4.0, 2.0), (0.1, 1.0)])
def test_streams_of_different_length_are_both_whole(tmp_path: Path, suffix: str, pictures: float, sound: float) -> None:
    """Matroska, WebM and FLV state the length of the file alone, which is that of its longest stream."""
    clip = write(tmp_path / f"a{suffix}", pictures, sound)
    assert len(read_audio(clip, RATE)) / RATE == pytest.approx(sound, abs=0.1)
    frames = read_frames(clip, [0.0, 9.0], pad=True).astype(int)
    assert np.abs(frames[1] - picture(round(pictures * FPS) - 1)).mean() < 12


def test_a_cut_file_is_told_although_a_subtitle_lasts_to_the_end(tmp_path: Path) -> None:
    """Cut where pictures and sound go on, behind the packet of a subtitle of the whole length."""
    clip = write(tmp_path / "a.mkv", 4.0, 4.0)
    import av

    titled, words = tmp_path / "titled.mkv", tmp_path / "words.srt"
    words.write_text("1\n00:00:00,000 --> 00:00:04,000\nall of it\n")
    with av.open(str(clip)) as source, av.open(str(words)) as texts, av.open(str(titled), "w") as out:
        made = {stream.index: out.add_stream_from_template(stream) for stream in source.streams}
        shown = out.add_stream_from_template(texts.streams[0])
        for packet in texts.demux():
            if packet.dts is not None:
                packet.stream = shown
                out.mux(packet)
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = made[packet.stream.index]
                out.mux(packet)
    content = titled.read_bytes()
    titled.write_bytes(content[: len(content) // 2])
    with pytest.raises(Unusable, match="truncated"):
        read_frames(titled, [0.0, 3.9])


@pytest.mark.parametrize("suffix", CODECS)
def test_a_file_that_was_cut_is_still_told(tmp_path: Path, suffix: str) -> None:
    clip = write(tmp_path / f"a{suffix}", 4.0, 2.0)
    content = clip.read_bytes()
    clip.write_bytes(content[: len(content) // 3])
    with pytest.raises(Unusable, match="truncated"):
        read_frames(clip, [0.0, 3.9])


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_last_picture_stays_as_long_as_the_file_says(tmp_path: Path, suffix: str) -> None:
    clip = write(tmp_path / f"a{suffix}", 1.0, 4.0, last=3.1)
    assert duration(clip) == pytest.approx(4.0, abs=0.02)
    frames = read_frames(clip, [0.85, 3.9]).astype(int)
    assert np.abs(frames[1] - picture(9)).mean() < np.abs(frames[0] - picture(9)).mean()
    with pytest.raises(Unusable, match=r"ends after 4\.0"):
        read_frames(clip, [4.5])
