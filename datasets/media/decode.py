"""Sound and frames of media files: by time or by number, mono and resampled, as plain arrays.

Nothing here depends on a dataset. Every function that reads raises `Unusable` for a file that cannot be used. Its text
is the reason; it names the file without its folder, and the remedy.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.inputs.sizes import excess
from mcr_bench.datasets.formats.foreign import is_web_page
from mcr_bench.datasets.formats.npz import is_pointer
from mcr_bench.datasets.formats.text_mode import SAMPLE, copied_as_text
from mcr_bench.datasets.media.clock import Reel, SoundClock, open_media, require_length
from mcr_bench.datasets.media.display import shown_picture, shown_size
from mcr_bench.datasets.media.findings import audible, report_pictures, within_full_scale
from mcr_bench.datasets.media.reasons import AGAIN, Unusable
from mcr_bench.datasets.media.riff import TOLERATED, require_stated

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream, VideoStream
    from av.container import InputContainer

__all__ = [
    "AGAIN",
    "Unusable",
    "aspect",
    "duration",
    "fit",
    "frame_count",
    "read_audio",
    "read_every",
    "read_frames",
    "read_numbered",
    "require_room_for_picture",
]

EARLY = 1e-6  # seconds, for the rounding of time stamps
SLOWEST, FASTEST = 1_000, 1_000_000  # samples per second of real sound; others would be resampled to gigabytes
Stream = TypeVar("Stream", "VideoStream", "AudioStream")


def read_audio(path: Path, rate: int, start: float = 0.0, seconds: float | None = None) -> Array:
    """The first audio stream as (T,) float32 in [-1, 1]: the mean of its channels, resampled to `rate` hertz.

    start, seconds: the requested part on the clock of the file; fewer samples are returned if the file ends earlier.
    Reported to `prepare` are parts that are almost silent, samples beyond full scale, which are cut, and channels that
    cancel in their mean: of these the first channel is returned.
    """
    with _opened(path) as container:
        stream = _sound_of(container, path)
        stop = None if seconds is None else start + seconds
        heard, native = _wave(container, stream, stop, path)
    wave = _resampled(audible(heard, native, start, stop), native, rate)
    first = round(start * rate)
    wave = wave[first : None if seconds is None else first + round(seconds * rate)]
    if not len(wave):
        raise Unusable(f"{path.name}: its sound ends before {start:g} s. {AGAIN}")
    if not np.isfinite(wave).all():
        raise Unusable(f"{path.name}: its sound holds NaN or infinite samples. {AGAIN}")
    return within_full_scale(wave, path.name)


def read_frames(path: Path, times: Sequence[float], pad: bool = False) -> Array:
    """The frame on screen at each of F `times`, as (F, H, W, 3) uint8 RGB; times in seconds on the clock of the file.

    Frames are as a player shows them: turned and mirrored by the display matrix, in square pixels. Reported to
    `prepare` are frames that are black or of one colour, and pictures that do not change.
    pad: whether the last frame is used for times after the end of the clip, which are `Unusable` otherwise.
    """
    return _pictures(path, times, by_number=False, pad=pad)


def read_every(path: Path, stride: int, count: int, start: int = 0) -> Array:
    """The frames number start, start + stride, ..., as (count, H, W, 3) uint8 RGB.

    After the end of the clip its last frame is repeated. Frames and what is reported are as in `read_frames`.
    """
    return read_numbered(path, [start + stride * n for n in range(count)])


def read_numbered(path: Path, numbers: Sequence[int], pad: bool = True) -> Array:
    """The frames with these numbers from 0, as (F, H, W, 3) uint8 RGB; otherwise as `read_every`.

    pad: whether the last frame is used for numbers after the end of the clip, which are `Unusable` otherwise.
    """
    return _pictures(path, numbers, by_number=True, pad=pad)


def duration(path: Path) -> float:
    """The seconds until the end of the last frame; of a file without frames, the length of its sound."""
    with _opened(path) as container:
        if container.streams.video:
            reel = Reel(container, _video_of(container, path), path)
            deque(reel, maxlen=0)
            return reel.end
        heard, native = _wave(container, _sound_of(container, path), None, path)
        return float(heard.shape[1] / native)


def require_room_for_picture(path: Path) -> None:
    """`Unusable` if the first picture of a file would need more memory than one file may take, or is not one."""
    with _opened(path) as container:
        stream = _video_of(container, path)
        _require_room(path, 3 * stream.codec_context.width * stream.codec_context.height)


def frame_count(path: Path) -> int:
    """The number of frames that can be decoded."""
    with _opened(path) as container:
        return sum(1 for _ in Reel(container, _video_of(container, path), path))


def fit(frames: Array, size: int) -> Array:
    """Whole frames (F, H, W, 3) uint8 as squares (F, 3, size, size) uint8.

    Frames are averaged over areas if they shrink, and interpolated bilinearly otherwise.
    """
    import cv2

    shrinks = min(frames.shape[1:3]) >= size
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    squares = [cv2.resize(frame, (size, size), interpolation=how) for frame in frames]
    return np.ascontiguousarray(np.stack(squares).transpose(0, 3, 1, 2))


def aspect(frames: Array) -> float:
    """Width divided by height of frames (F, H, W, 3).

    >>> aspect(np.zeros((2, 30, 40, 3), np.uint8))
    1.3333333333333333
    """
    return float(frames.shape[2] / frames.shape[1])


@contextmanager
def _opened(path: Path) -> "Iterator[InputContainer]":
    """The open container; any error of the decoder inside becomes `Unusable`, with a text without the folder."""
    import av

    _require_content(path)
    try:
        with open_media(path) as container:
            yield container
    except av.error.FFmpegError as error:
        raise Unusable(f"{path.name}: cannot be decoded ({error.strerror}): damaged or truncated. {AGAIN}") from error


def _require_content(path: Path) -> None:
    """`Unusable` if size and first bytes show that a file has no usable content.

    That is an empty file, a git-LFS pointer, a web page, a copy in text mode, or a truncated RIFF file (wav, avi).
    """
    try:
        size = path.stat().st_size
        pointer = is_pointer(path)
        require_stated(path, size)
        with path.open("rb") as file:
            head = file.read(SAMPLE)
    except OSError as error:
        raise Unusable(f"{path.name}: cannot be read ({error.strerror}). Make it readable.") from error
    if not size:
        raise Unusable(f"{path.name}: the file is empty. {AGAIN}")
    if is_web_page(head):
        raise Unusable(f"{path.name}: a web page, not the recording: the download failed. {AGAIN}")
    if copied_as_text(head):
        raise Unusable(
            f"{path.name}: damaged, every line feed follows a carriage return: it was copied in text mode. "
            "Copy it again from the source, in binary mode."
        )
    if pointer:
        raise Unusable(f"{path.name}: a git-LFS pointer, not the data. Run `git lfs pull` where the file comes from.")


def _require_room(path: Path, size: int) -> None:
    """`Unusable` if so many bytes are more than one file may take."""
    if reason := excess(size):
        raise Unusable(f"{path.name}: {reason}.")


def _video_of(container: "InputContainer", path: Path) -> "VideoStream":
    return _first(container.streams.video, "video", path)


def _sound_of(container: "InputContainer", path: Path) -> "AudioStream":
    return _first(container.streams.audio, "audio", path)


def _first(streams: Sequence[Stream], kind: str, path: Path) -> Stream:
    if not streams:
        raise Unusable(f"{path.name}: no {kind} stream. Leave the clip out, or find a copy that has one.")
    if streams[0].codec_context is None:  # SVG, and codecs that this FFmpeg was built without
        raise Unusable(f"{path.name}: its {kind} stream has no decoder here. Convert the file to a common format.")
    streams[0].codec_context.thread_count = 1  # `prepare` decodes many files at a time
    return streams[0]


def _pictures(path: Path, wanted: Sequence[float], by_number: bool, pad: bool) -> Array:
    """(F, H, W, 3) uint8: for each of F wanted times (or numbers) the last frame that is not later, else the first."""
    waiting = deque(sorted(set(wanted)))
    pictures: dict[float, Array] = {}
    with _opened(path) as container:
        stream = _video_of(container, path)
        width, height = shown_size(stream, path.name)
        _require_room(path, 3 * width * height * len(waiting))
        reel, last = Reel(container, stream, path), None
        for number, (seconds, frame) in enumerate(reel):
            while waiting and (number if by_number else seconds) > waiting[0] + EARLY:
                pictures[waiting.popleft()] = shown_picture(frame if last is None else last, stream, path.name)
            if not waiting:
                break
            last = frame
        else:
            require_length(container, stream, reel.coded, TOLERATED, path)
            if not pad and by_number and waiting[-1] > number:
                raise Unusable(f"{path.name}: has {number + 1} frames; frame {waiting[-1]:g} from 0 is needed.")
            if not pad and not by_number and waiting[-1] > reel.end - EARLY:
                raise Unusable(f"{path.name}: ends after {reel.end:.2f} s; a frame at {waiting[-1]:g} s is needed.")
            assert last is not None  # a reel gives at least one frame
            pictures.update(dict.fromkeys(waiting, shown_picture(last, stream, path.name)))
    report_pictures(list(pictures.values()))
    return np.stack([pictures[at] for at in wanted])


def _wave(container: "InputContainer", stream: "AudioStream", stop: float | None, path: Path) -> tuple[Array, int]:
    """(2, T) float32, the mean of the channels and the first channel, and their sampling rate.

    The sound starts at second 0 of the clock of the file, and ends with the file or a little after `stop`. It is silent
    where the file has none, and what the file has twice is taken once.
    """
    pieces: list[Array] = []
    native, length, clock = 0, 0, SoundClock(container)
    for frame in _until_rate_changes(container.decode(stream)):
        if not native:
            native = frame.sample_rate
            if not SLOWEST <= native <= FASTEST:
                raise Unusable(f"{path.name}: damaged, its header states {native:,} samples per second. {AGAIN}")
        ahead = clock.ahead(frame.time, frame.samples, native)
        if ahead > 0:
            _require_room(path, 8 * (length + ahead))
            pieces.append(np.zeros((2, ahead), np.float32))
            length += ahead
        pieces.append(_mean_and_first(frame)[:, max(-ahead, 0) :])
        length += pieces[-1].shape[1]
        _require_room(path, 8 * length)
        if stop is not None and length > (stop + TOLERATED) * native:
            break
    else:
        if not native:
            raise Unusable(f"{path.name}: no sound can be decoded. {AGAIN}")
        if container.format.name != "wav":  # the stated length of a wav was checked before
            require_length(container, stream, length / native, TOLERATED, path)
    return np.concatenate(pieces, axis=1), native


def _until_rate_changes(frames: "Iterable[AudioFrame]") -> "Iterator[AudioFrame]":
    rate = None
    for frame in frames:
        rate = rate or frame.sample_rate
        if frame.sample_rate != rate:
            return
        yield frame


def _mean_and_first(frame: "AudioFrame") -> Array:
    """(2, T) float32 in [-1, 1]: the mean of the channels, and the first channel."""
    x: Array = frame.to_ndarray()
    if not frame.format.is_planar:
        x = x.reshape(-1, frame.layout.nb_channels).T
    if x.dtype == np.uint8:
        x = (x.astype(np.float32) - 128) / 128
    elif x.dtype.kind == "i":
        x = x.astype(np.float32) / -float(np.iinfo(x.dtype).min)
    x = x.astype(np.float32)
    return np.stack([x.mean(axis=0), x[0]])


def _resampled(wave: Array, native: int, rate: int) -> Array:
    """(T,) -> (T rate / native,) float32 by polyphase filtering; a constant stays a constant, without ripple."""
    from scipy.signal import resample_poly

    if native == rate:
        return wave
    if len(wave) and not np.ptp(wave):
        return np.full(-(-len(wave) * rate // native), wave[0])
    common = int(np.gcd(native, rate))
    return np.asarray(resample_poly(wave, rate // common, native // common), np.float32)
