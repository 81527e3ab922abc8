"""Sound and frames out of media files: by time or by number, mono and resampled, as plain arrays.

Nothing here knows a dataset. Every function that reads raises `Unusable` for a file that cannot be used; its text is
the reason, names the file without its folder, and says what to do.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mcr_bench.datasets._npz import Array, is_pointer

AGAIN = "Copy it again from the source."
REORDERED = 16  # frames: the longest reordering that H.264 and MPEG-4 allow
TOLERATED = 0.1  # of a stream's stated length, and seconds: streams of one file end at slightly different times
STREAMED = 0xFFFFFFFF  # the stated size of a RIFF file whose writer did not know it
EARLY = 1e-6  # seconds: rounding of time stamps


class Unusable(Exception):
    """A file that cannot be used; the text is the reason and the remedy."""


def read_audio(path: Path, rate: int, start: float = 0.0, seconds: float | None = None) -> Array:
    """(T,) float32 in [-1, 1]: the first audio stream, mean of its channels, resampled to `rate` hertz.

    start, seconds: the part that is wanted, on the clock of the file; fewer samples come back where the file ends.
    """
    with _opened(path) as container:
        stream = _stream(container, "audio", path)
        stop = None if seconds is None else start + seconds
        wave, native = _wave(container, stream, stop, path)
    wave = _resampled(wave, native, rate)
    first = round(start * rate)
    wave = wave[first : None if seconds is None else first + round(seconds * rate)]
    if not len(wave):
        raise Unusable(f"{path.name}: its sound ends before {start:g} s. {AGAIN}")
    if not np.isfinite(wave).all():
        raise Unusable(f"{path.name}: its sound holds NaN or infinite samples. {AGAIN}")
    return np.clip(wave, -1, 1)


def read_frames(path: Path, times: Sequence[float], pad: bool = False) -> Array:
    """(F, H, W, 3) uint8 RGB: the frame on screen at each of `times`, in seconds on the clock of the file.

    pad: the last frame of the clip stands for times after its end, which are `Unusable` otherwise.
    """
    return _pictures(path, times, by_number=False, pad=pad)


def read_every(path: Path, stride: int, count: int, start: int = 0) -> Array:
    """(count, H, W, 3) uint8 RGB: frames start, start + stride, ... by number; the last of the clip is repeated."""
    return _pictures(path, [start + stride * n for n in range(count)], by_number=True, pad=True)


def duration(path: Path) -> float:
    """Seconds from the first to the end of the last frame; of the sound where there are no frames."""
    with _opened(path) as container:
        if container.streams.video:
            *_, (end, _) = _shown(container, _stream(container, "video", path), path)
            return end + _period(container.streams.video[0])
        wave, native = _wave(container, _stream(container, "audio", path), None, path)
        return len(wave) / native


def frame_count(path: Path) -> int:
    """How many frames can be decoded."""
    with _opened(path) as container:
        return sum(1 for _ in _shown(container, _stream(container, "video", path), path))


def fit(frames: Array, size: int) -> Array:
    """(F, H, W, 3) -> (F, 3, size, size) uint8: whole frames as squares, by area where they shrink, else bilinear."""
    import cv2

    shrinks = min(frames.shape[1:3]) >= size
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    squares = [cv2.resize(frame, (size, size), interpolation=how) for frame in frames]
    return np.ascontiguousarray(np.stack(squares).transpose(0, 3, 1, 2))


def aspect(frames: Array) -> float:
    """Width / height of frames (F, H, W, 3)."""
    return float(frames.shape[2] / frames.shape[1])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The container; whatever fails inside is `Unusable`, in words without the folder."""
    import av

    _require_content(path)
    try:
        # an absolute path is never taken for an address, and nothing in a file leads to one; tags do not matter
        name, options = str(path.absolute()), {"protocol_whitelist": "file"}
        with av.open(name, options=options, metadata_errors="replace") as container:
            yield container
    except av.error.FFmpegError as error:
        raise Unusable(f"{path.name}: cannot be decoded ({error.strerror}): damaged or truncated. {AGAIN}") from error


def _require_content(path: Path) -> None:
    """`Unusable` for what size and first bytes tell: no content, a git-LFS pointer, a RIFF (wav, avi) cut short."""
    try:
        size = path.stat().st_size
        pointer = is_pointer(path)
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise Unusable(f"{path.name}: cannot be read ({error.strerror}). Make it readable.") from error
    if not size:
        raise Unusable(f"{path.name}: the file is empty. {AGAIN}")
    if pointer:
        raise Unusable(f"{path.name}: a git-LFS pointer, not the data. Run `git lfs pull` where the file comes from.")
    stated = int.from_bytes(head[4:], "little")
    if head.startswith(b"RIFF") and stated != STREAMED and size < stated * (1 - TOLERATED):
        raise Unusable(f"{path.name}: truncated, {size:,} bytes of {stated + 8:,} are there. {AGAIN}")


def _stream(container: Any, kind: str, path: Path) -> Any:
    found = getattr(container.streams, kind)
    if not found:
        raise Unusable(f"{path.name}: no {kind} stream. Leave the clip out, or find a copy that has one.")
    found[0].thread_count = 1  # `prepare` decodes many files at a time
    return found[0]


def _origin(container: Any) -> float:
    return (container.start_time or 0) / 1_000_000  # container times are in microseconds


def _period(stream: Any) -> float:
    rate = stream.average_rate or stream.guessed_rate
    return 1 / float(rate) if rate else 0.0


def _require_whole(container: Any, stream: Any, end: float, path: Path) -> None:
    """`Unusable` where the stream ends much earlier than the file says: nothing else tells of a broken download."""
    if stream.duration is not None and stream.time_base is not None:
        stated = float(stream.duration * stream.time_base)
    else:
        stated = (container.duration or 0) / 1_000_000
    if end < stated * (1 - TOLERATED) - TOLERATED:
        raise Unusable(f"{path.name}: truncated, {end:.2f} s of {stated:.2f} s are there. {AGAIN}")


def _shown(container: Any, stream: Any, path: Path) -> Iterator[tuple[float, Any]]:
    """(seconds, frame) in the order of display; at least one.

    Frames come out of a decoder in this order, but AVI has time stamps in the order of coding only: the n-th frame is
    given the n-th smallest of them.
    """
    held: deque[Any] = deque()
    times: list[float] = []
    origin, period, found = _origin(container), _period(stream), False
    for number, frame in enumerate(container.decode(stream)):
        found = True
        if frame.is_corrupt:  # the decoder has filled in what it could not read
            raise Unusable(f"{path.name}: damaged, frame {number} cannot be decoded as it was. {AGAIN}")
        held.append(frame)
        heapq.heappush(times, number * period if frame.time is None else frame.time - origin)
        if len(held) > REORDERED:
            yield heapq.heappop(times), held.popleft()
    if not found:
        raise Unusable(f"{path.name}: no frame can be decoded. {AGAIN}")
    while held:
        yield heapq.heappop(times), held.popleft()


def _pictures(path: Path, wanted: Sequence[float], by_number: bool, pad: bool) -> Array:
    """(F, H, W, 3): at each of `wanted`, the last frame whose time (or number) is not greater, else the first."""
    waiting = deque(sorted(set(wanted)))
    found: dict[float, Array] = {}
    with _opened(path) as container:
        stream = _stream(container, "video", path)
        last, end = None, 0.0
        for number, (seconds, frame) in enumerate(_shown(container, stream, path)):
            end = seconds
            while waiting and (number if by_number else seconds) > waiting[0] + EARLY:
                found[waiting.popleft()] = _rgb(frame if last is None else last, stream)
            if not waiting:
                break
            last = frame
        else:
            end += _period(stream)
            _require_whole(container, stream, end, path)
            if not pad and waiting[-1] > end - EARLY:
                raise Unusable(f"{path.name}: ends after {end:.2f} s; a frame at {waiting[-1]:g} s is needed.")
            found.update(dict.fromkeys(waiting, _rgb(last, stream)))
    return np.stack([found[at] for at in wanted])


def _rgb(frame: Any, stream: Any) -> Array:
    """(H, W, 3) uint8 in the size that the stream states, also where frames change theirs."""
    picture: Array = frame.to_ndarray(format="rgb24", width=stream.width, height=stream.height)
    return picture


def _wave(container: Any, stream: Any, stop: float | None, path: Path) -> tuple[Array, int]:
    """(T,) float32 from second 0 of the file's clock to its end, or a little more than `stop`; its rate."""
    pieces: list[Array] = []
    native, origin, length = 0, _origin(container), 0
    for frame in _until_rate_changes(container.decode(stream)):
        if not pieces:
            native = frame.sample_rate
            late = round(((frame.time or 0.0) - origin) * native)
            pieces.append(np.zeros(max(late, 0), np.float32))
            length = len(pieces[0])
        pieces.append(_mono(frame))
        length += len(pieces[-1])
        if stop is not None and length > (stop + TOLERATED) * native:
            break
    else:
        if not native:
            raise Unusable(f"{path.name}: no sound can be decoded. {AGAIN}")
        _require_whole(container, stream, length / native, path)
    return np.concatenate(pieces), native


def _until_rate_changes(frames: Iterable[Any]) -> Iterator[Any]:
    rate = None
    for frame in frames:
        rate = rate or frame.sample_rate
        if frame.sample_rate != rate:
            return
        yield frame


def _mono(frame: Any) -> Array:
    """(T,) float32 in [-1, 1]: the mean of the channels."""
    x: Array = frame.to_ndarray()
    if not frame.format.is_planar:
        x = x.reshape(-1, frame.layout.nb_channels).T
    if x.dtype == np.uint8:
        x = (x.astype(np.float32) - 128) / 128
    elif x.dtype.kind == "i":
        x = x.astype(np.float32) / -float(np.iinfo(x.dtype).min)
    mono: Array = x.astype(np.float32).mean(axis=0)
    return mono


def _resampled(wave: Array, native: int, rate: int) -> Array:
    """Polyphase filtering with the low pass of the lower of the two rates."""
    from scipy.signal import resample_poly

    if native == rate:
        return wave
    common = int(np.gcd(native, rate))
    return np.asarray(resample_poly(wave, rate // common, native // common), np.float32)
