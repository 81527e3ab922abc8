"""Sound whose stated length is made up, cut, silent, almost silent, or cancels when it is mixed."""

import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import wavfile

from mcr_bench.datasets.media.decode import Unusable, duration, read_audio
from mcr_bench.datasets.media.findings import require_sound
from mcr_bench.datasets.media.reasons import collected
from mcr_bench.tests.support.media.media_files import tone, truncate, write_audio

RATE = 16000
NOISE = np.random.default_rng(0)


def pcm(path: Path, *channels: NDArray[np.float32], rate: int = RATE) -> Path:
    """16 bits; samples of [-1, 1] are rounded."""
    with wave.open(str(path), "wb") as out:
        out.setparams((len(channels), 2, rate, 0, "NONE", ""))
        out.writeframes(np.rint(np.stack(channels, 1) * 32767).astype("<i2").tobytes())
    return path


def stated(path: Path, riff: int, data: int) -> Path:
    content = bytearray(path.read_bytes())
    at = content.index(b"data")
    content[4:8], content[at + 4 : at + 8] = struct.pack("<I", riff), struct.pack("<I", data)
    path.write_bytes(content)
    return path


def encoded(path: Path, *channels: NDArray[np.float32], codec: str = "aac", rate: int = 44100) -> Path:
    """Through a lossy codec."""
    import av

    layout = "stereo" if len(channels) == 2 else "mono"
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, layout=layout, format="fltp")
        frame = av.AudioFrame.from_ndarray(np.stack(channels).astype(np.float32), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        for piece in resampler.resample(frame):
            out.mux(stream.encode(piece))
        out.mux(stream.encode())
    return path


# Stated lengths

MADE_UP = {
    "sox": (0x7FFFF024, 0x7FFFF000),
    "arecord": (0x80000024, 0x80000000),
    "ffmpeg": (0xFFFFFFFF, 0xFFFFFFFF),
    "nothing": (0, 0),
    "the largest signed": (0x7FFFFFFF, 0x7FFFFFDB),
    "all but the header": (0xFFFFFFFF, 0xFFFFFFD3),
    "two gigabytes in round numbers": (2_000_000_036, 2_000_000_000),
    "the whole file alone": (5_000_000, 32_000),  # every sample of the data chunk is there
    "the sound alone": (32_036, 5_000_000),  # the file ends where it says
    "an hour": (115_200_036, 115_200_000),
    "ten minutes": (19_200_036, 19_200_000),  # of 16 bits at 16 kHz; one second is there
}


@pytest.mark.parametrize("name", MADE_UP)
def test_a_made_up_length_is_read_to_the_end_of_the_file(tmp_path: Path, name: str) -> None:
    path = stated(pcm(tmp_path / "a.wav", tone(1)), *MADE_UP[name])
    assert len(read_audio(path, RATE)) == RATE
    assert duration(path) == pytest.approx(1)


@pytest.mark.parametrize("name", ["sox", "ffmpeg"])
def test_chunks_before_the_sound_are_passed_over(tmp_path: Path, name: str) -> None:
    content = pcm(tmp_path / "a.wav", tone(1)).read_bytes()
    at = content.index(b"data")
    note = b"LIST" + struct.pack("<I", 10) + b"INFOdata__"  # holds the word that marks the sound
    (tmp_path / "a.wav").write_bytes(content[:at] + note + content[at:])
    path = tmp_path / "a.wav"
    content = path.read_bytes()
    at = content.rindex(b"data")
    riff, data = MADE_UP[name]
    path.write_bytes(
        b"RIFF" + struct.pack("<I", riff) + content[8 : at + 4] + struct.pack("<I", data) + content[at + 8 :]
    )
    assert len(read_audio(path, RATE)) == RATE


@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.85])
def test_a_wav_that_was_cut_is_truncated(tmp_path: Path, kept: float, rate: int) -> None:
    path = pcm(tmp_path / "a.wav", tone(2, rate), rate=rate)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(Unusable, match=rf"a\.wav: truncated, it has [\d,]+ bytes of {4 * rate:,}"):
        read_audio(path, RATE)


CUT = {
    "an hour, of which the file has two minutes": (120, 115_200_036, 115_200_000),
    "nine minutes, of which a second is there": (1, 17_280_036, 17_280_000),
    "both sizes, the file's smaller": (1, 64_036, 5_000_000),
    "the sound alone, with an empty file": (1, 36, 64_000),
    "the sound alone, with a file of no size": (1, 0, 64_000),
}


@pytest.mark.parametrize("name", CUT)
def test_a_stated_length_that_can_be_believed_tells_of_a_cut(tmp_path: Path, name: str) -> None:
    seconds, riff, data = CUT[name]
    path = stated(pcm(tmp_path / "a.wav", np.zeros(seconds * RATE, np.float32)), riff, data)
    with pytest.raises(
        Unusable,
        match=rf"truncated, it has {32_000 * seconds:,} bytes of {min(data, riff - 36):,}\."
        if riff > 36
        else r"truncated, it has 32,000 bytes of 64,000\.",
    ):
        read_audio(path, RATE)


def long_wav(path: Path, riff: int, data: int) -> Path:
    """RF64, whose sizes stand in a chunk of their own."""
    content = pcm(path, tone(1)).read_bytes()
    sizes = b"ds64" + struct.pack("<IQQQI", 28, riff, data, 16000, 0)
    head = b"RF64" + b"\xff" * 4 + b"WAVE" + sizes
    at = content.index(b"data")
    path.write_bytes(head + content[12 : at + 4] + b"\xff" * 4 + content[at + 8 :])
    return path


@pytest.mark.parametrize("data", [32_000, 2**62])
def test_rf64_states_its_length_apart(tmp_path: Path, data: int) -> None:
    assert len(read_audio(long_wav(tmp_path / "a.wav", data, data), RATE)) == RATE


def test_a_truncated_rf64_and_avi_are_told(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="truncated, it has 32,000 bytes of 3,000,000,000"):
        read_audio(long_wav(tmp_path / "a.wav", 3_000_000_036, 3_000_000_000), RATE)
    with pytest.raises(Unusable, match="truncated"):
        read_audio(truncate(write_audio(tmp_path / "b.mp3", seconds=3)), RATE)


# Silence and cancellation

SILENT = {
    "zeros": np.zeros(RATE, np.float32),
    "a constant": np.full(RATE, 0.25, np.float32),
    "a negative constant": np.full(RATE, -0.5, np.float32),
}


@pytest.mark.parametrize("rate", [RATE, 22050])
@pytest.mark.parametrize("name", SILENT)
def test_digital_silence_is_no_sound(tmp_path: Path, name: str, rate: int) -> None:
    path = pcm(tmp_path / "a.wav", SILENT[name])
    with collected() as result:
        read_audio(path, rate)
    assert result == ["silent: the same value throughout"]
    with pytest.raises(Unusable, match=r"a\.wav: no sound: all of its samples are .* \(digital silence\)\. Leave"):
        require_sound(read_audio(path, rate), path.name)


def test_silence_of_a_lossy_codec_is_no_sound(tmp_path: Path) -> None:
    path = encoded(tmp_path / "a.m4a", np.zeros(44100, np.float32))
    with pytest.raises(Unusable, match="no sound"):
        require_sound(read_audio(path, RATE), path.name)


def test_only_the_part_that_is_used_counts(tmp_path: Path) -> None:
    path = pcm(tmp_path / "a.wav", np.concatenate([np.zeros(RATE, np.float32), tone(1)]))
    require_sound(read_audio(path, RATE), path.name)
    require_sound(read_audio(path, RATE, 1, 1), path.name)
    with pytest.raises(Unusable, match="no sound"):
        require_sound(read_audio(path, RATE, 0, 1), path.name)


@pytest.mark.parametrize("offset", [0.0, 0.4])
@pytest.mark.parametrize(("level", "told"), [(1e-4, True), (3e-3, False)])
def test_almost_nothing_is_told_whatever_the_offset(tmp_path: Path, offset: float, level: float, told: bool) -> None:
    path = pcm(tmp_path / "a.wav", (offset + level * NOISE.standard_normal(RATE)).astype(np.float32))
    with collected() as result:
        require_sound(read_audio(path, 22050), path.name)
    assert bool(result) == told
    assert all(text.startswith("almost silent: -80 dB") or text.startswith("almost silent: -79") for text in result)


@pytest.mark.parametrize("suffix", [".wav", ".m4a", ".mp3"])
def test_channels_in_antiphase_are_read_from_the_first(tmp_path: Path, suffix: str) -> None:
    wave_ = tone(1, 44100)
    path = tmp_path / f"a{suffix}"
    if suffix == ".wav":
        pcm(path, wave_, -wave_, rate=44100)
    else:
        encoded(path, wave_, -wave_, codec="aac" if suffix == ".m4a" else "libmp3lame")
    with collected() as result:
        heard = read_audio(path, 44100)
    assert result == ["its channels are in antiphase and cancel when mixed to mono; the first channel is used"]
    middle = slice(10_000, 20_000)
    assert np.abs(heard[middle]).max() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("right", [0.0, 0.5, -0.5, 1.0])
def test_other_channels_are_averaged_as_ever(tmp_path: Path, right: float) -> None:
    left = tone(1)
    with collected() as result:
        heard = read_audio(pcm(tmp_path / "a.wav", left, right * left), RATE)
    assert result == []
    assert np.abs(heard - left * (1 + right) / 2).max() < 1e-4


def floats(path: Path, wave: NDArray[np.float32]) -> Path:
    """A WAV file of 32-bit floats, as SciPy writes them: whatever the numbers are."""
    wavfile.write(path, RATE, wave)
    return path


def test_integers_saved_as_floats_are_refused_and_a_little_overshoot_is_not(tmp_path: Path) -> None:
    """Cut to [-1, 1], 16-bit numbers that nobody divided are a square wave."""
    whole = np.asarray(tone(1), np.float32)
    peak = float(np.abs(whole).max())
    with pytest.raises(Unusable, match=r"a\.wav: its sound reaches .* times full scale: .* Divide them by"):
        read_audio(floats(tmp_path / "a.wav", np.round(whole * 32767).astype(np.float32)), RATE)
    with collected() as result:
        loud = read_audio(floats(tmp_path / "b.wav", whole * np.float32(1.5 / peak)), RATE)
        spiked = whole / np.float32(peak)
        spiked[100] = 1.2
        read_audio(floats(tmp_path / "c.wav", spiked), RATE)
    assert float(np.abs(loud).max()) == 1.0
    assert len(result) == 1
    assert result[0].endswith("% of its samples are beyond full scale, and are cut there")
