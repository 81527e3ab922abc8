"""Small media files that tests encode themselves, in real containers and codecs; the content follows the seed."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# suffix -> video codec, pixel format, audio codec, sample format, rates that the audio codec takes
CODECS = {
    ".avi": ("mpeg4", "yuv420p", "libmp3lame", "s16p", (16000, 22050, 44100)),
    ".mp4": ("libx264", "yuv420p", "aac", "fltp", (16000, 22050, 44100)),
    ".flv": ("flv", "yuv420p", "libmp3lame", "s16p", (22050, 44100)),
    ".webm": ("libvpx-vp9", "yuv420p", None, None, ()),
}
LOUDNESS = 0.5
BITS = 1_000_000  # per second: the codecs' defaults smear moving edges
TRUNCATED = 0.4


def picture(frame: int, width: int = 64, height: int = 48, seed: int = 0) -> NDArray[np.uint8]:
    """(H, W, 3): a gradient that moves by three columns a frame; its blue and its start are the seed's."""
    columns = (np.arange(width) * 4 + 12 * frame + 37 * seed) % 256
    image = np.empty((height, width, 3), np.uint8)
    image[..., 0] = columns
    image[..., 1] = np.linspace(0, 255, height)[:, None]
    image[..., 2] = (53 * seed) % 256
    return image


def tone(seconds: float = 1.0, rate: int = 16000, seed: int = 0) -> NDArray[np.float32]:
    """(T,) in [-.5, .5]: a sine of 300 + 40 (seed mod 50) Hz."""
    at = np.arange(round(seconds * rate)) / rate
    return (LOUDNESS * np.sin(2 * np.pi * frequency(seed) * at)).astype(np.float32)


def frequency(seed: int) -> float:
    """Hertz of the tone of a seed."""
    return 300.0 + 40 * (seed % 50)


def write_clip(
    path: Path,
    seconds: float = 1.0,
    width: int = 64,
    height: int = 48,
    fps: int = 10,
    seed: int = 0,
    audio: bool = True,
    rate: int = 16000,
) -> Path:
    """A clip in the container and codecs of its suffix: .avi, .mp4, .flv (22.05 kHz at least), .webm (no audio)."""
    import av

    codec, pixels, sound, samples, rates = CODECS[path.suffix.lower()]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=path.suffix.lower()[1:]) as out:
        video: Any = out.add_stream(codec, rate=fps, options={"cpu-used": "8"} if codec == "libvpx-vp9" else {})
        video.width, video.height, video.pix_fmt = width, height, pixels
        video.thread_count, video.bit_rate = 1, BITS
        hertz = min(rates, key=lambda r: abs(r - rate)) if sound and audio else 0
        heard: Any = out.add_stream(sound, rate=hertz, layout="mono", format=samples) if hertz else None
        for n in range(round(seconds * fps)):
            frame = av.VideoFrame.from_ndarray(picture(n, width, height, seed), format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, fps)
            out.mux(video.encode(frame))
        out.mux(video.encode())
        if heard:
            _encode(out, heard, tone(seconds, hertz, seed), hertz)
    return path


def write_audio(path: Path, seconds: float = 1.0, rate: int = 16000, seed: int = 0) -> Path:
    """A tone as .wav (16 bit) or .mp3."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    wav = path.suffix.lower() == ".wav"
    with av.open(str(path), "w", format=path.suffix.lower()[1:]) as out:
        stream = out.add_stream(
            "pcm_s16le" if wav else "libmp3lame", rate=rate, layout="mono", format="s16" if wav else "s16p"
        )
        _encode(out, stream, tone(seconds, rate, seed), rate)
    return path


def _encode(out: Any, stream: Any, wave: NDArray[np.float32], rate: int) -> None:
    import av

    frame = av.AudioFrame.from_ndarray((wave * 32767).astype(np.int16)[None], format="s16", layout="mono")
    frame.sample_rate, frame.pts = rate, 0
    out.mux(stream.encode(frame))
    out.mux(stream.encode())


def lfs_pointer(path: Path) -> Path:
    """What `git clone` leaves in the place of a media file where git-LFS is not installed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 123456\n")
    return path


def truncate(path: Path) -> Path:
    """Cuts the end off, as a broken download does."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * TRUNCATED)])
    return path
