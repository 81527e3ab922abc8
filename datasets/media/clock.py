"""The clock of a video: when each frame is on screen, and how long the file should be."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mcr_bench.datasets.media.reasons import AGAIN, Unusable

if TYPE_CHECKING:
    from av import AudioStream, VideoFrame, VideoStream
    from av.container import InputContainer

GAP = 0.05  # seconds from one frame of sound to the next: less is the rounding of times (our choice)
OF_FILE = ("matroska,webm", "flv")  # formats that state one length; what their streams have is FFmpeg's guess
LONGEST = 86_400.0  # seconds: a longer stated length is invented, by programs that did not know the real one


def open_media(path: Path) -> "InputContainer":
    """The open container: an absolute path is never read as an address, and files may not refer to addresses."""
    import av

    return av.open(str(path.absolute()), options={"protocol_whitelist": "file"}, metadata_errors="replace")


def origin(container: "InputContainer") -> float:
    """The time in seconds at which the clock of the file starts; the container gives it in microseconds."""
    return (container.start_time or 0) / 1_000_000


def period(stream: "VideoStream") -> float:
    """The seconds from one frame to the next; 0 if the file does not state them."""
    rate = stream.average_rate or stream.guessed_rate
    return 1 / float(rate) if rate else 0.0


def require_length(
    container: "InputContainer", stream: "VideoStream | AudioStream", end: float, tolerated: float, path: Path
) -> None:
    """`Unusable` if the stream ends much earlier than the file states, which is the only sign of a broken download.

    end: where the stream ends, in seconds on the clock of the file.
    tolerated: the difference that is accepted: this share of the stated length, and this many seconds in addition.
    """
    if stream.duration is None or stream.time_base is None or container.format.name in OF_FILE:
        of_file = True  # the length of the longest stream; Matroska counts from 0
        stated = (container.duration or 0) / 1_000_000 - max(origin(container), 0)
    else:
        of_file, stated = False, float(stream.duration * stream.time_base)
    least = stated * (1 - tolerated) - tolerated
    if stated < LONGEST and end < least and not (of_file and _furthest(path) >= least):
        raise Unusable(f"{path.name}: truncated, it has {end:.2f} s of {stated:.2f} s. {AGAIN}")


class SoundClock:
    """Tells where decoded sound belongs, as recordings have gaps (lost packets, cuts), which players play as silence.

    A gap is a jump from the end of one frame to the begin of the next; a recorder's clock that drifts makes none. Times
    are believed as long as they grow. AVI has none, and where they begin anew, as in files that were joined, the sound
    goes on from where it was.
    """

    def __init__(self, container: "InputContainer") -> None:
        self.start, self.before, self.end = origin(container), -math.inf, 0.0
        self.timed = container.format.name != "avi"

    def ahead(self, time: float | None, count: int, rate: int) -> int:
        """The samples that are missing before a frame of sound, or, if negative, that were there before.

        time: that of the frame, in seconds. count: its samples. rate: samples per second.
        """
        if self.before == -math.inf:
            self.before = time or 0.0
            self.end = self.before + count / rate
            return max(round((self.before - self.start) * rate), 0)
        if time is None or not self.timed:
            return 0
        jump = time - self.end if time > self.before else 0.0
        self.before, self.end = time, time + count / rate
        return round(jump * rate) if abs(jump) > GAP else 0


def _furthest(path: Path) -> float:
    """Where the last packet of pictures or sound ends, in seconds on the clock of the file, which is read again."""
    with open_media(path) as container:
        ends = [
            float((packet.pts + (packet.duration or 0)) * packet.time_base)
            for packet in container.demux([*container.streams.video, *container.streams.audio])
            if packet.pts is not None and packet.time_base is not None
        ]
        return max(ends, default=0.0) - max(origin(container), 0)


class Reel:
    """Iterates over (seconds, frame) in the order of display: at least one frame, or `Unusable`.

    Most containers state the time at which each frame is displayed. AVI, and files that were converted from it without
    new time stamps, only numbers the places in which frames are coded, and a decoder that reorders frames gives its
    first frame after it has read `lag` more of them. The n-th frame in the order of display then belongs to place
    n + lag, and the first is at second 0. Empty places between frames (pictures dropped by a recorder) count. Empty
    places after the very first packet do not, because writers of AVI put the first packet at place 0 at any time.
    """

    def __init__(self, container: "InputContainer", stream: "VideoStream", path: Path) -> None:
        self.container, self.stream, self.path = container, stream, path
        self.period, self.origin = period(stream), origin(container)
        self.by_place = container.format.name == "avi"
        self.places: list[int] = []
        self.lag = 0
        self.last = 0.0
        self.shown = 0.0

    @property
    def end(self) -> float:
        """The time in seconds at which the last frame so far ends: the file may state that it stays on screen."""
        return max(self.last + self.period, 0.0 if self.by_place else self.shown)

    @property
    def coded(self) -> float:
        """The seconds of the file that were read so far, to be compared with its stated length."""
        if not self.by_place or not self.places:
            return self.end
        return self._duration(self.places[-1] - self.places[0] + self._step())

    def __iter__(self) -> "Iterator[tuple[float, VideoFrame]]":
        number = -1
        for number, frame in enumerate(self._frames()):
            if frame.is_corrupt:  # the decoder has invented what it could not read
                raise Unusable(f"{self.path.name}: damaged, frame {number} cannot be decoded completely. {AGAIN}")
            self.last = self._seconds(number, frame)
            yield self.last, frame
        if number < 0:
            raise Unusable(f"{self.path.name}: no frame can be decoded. {AGAIN}")

    def _frames(self) -> "Iterator[VideoFrame]":
        first = True
        for packet in self.container.demux(self.stream):
            if packet.size and packet.dts is not None:
                self.by_place = self.by_place or (packet.pts is None and not self.places)
                self.places.append(packet.dts)
            if packet.pts is not None and packet.duration and packet.time_base and not packet.is_discard:
                self.shown = max(self.shown, float((packet.pts + packet.duration) * packet.time_base) - self.origin)
            for frame in packet.decode():
                if first:
                    first, self.lag = False, max(len(self.places) - 1, 0)
                yield frame

    def _seconds(self, number: int, frame: "VideoFrame") -> float:
        if self.by_place and self.places:
            return self._duration(self._place(number))
        return number * self.period if frame.time is None else float(frame.time) - self.origin

    def _place(self, number: int) -> int:
        """The place of the n-th frame in the order of display, relative to the place of the first."""
        if not number:
            return 0
        at, places = number + self.lag, self.places
        place = places[at] if at < len(places) else places[-1] + (at - len(places) + 1) * self._step()
        first = places[self.lag] if self.lag or len(places) < 2 else places[1] - self._step()
        return place - first

    def _step(self) -> int:
        """The number of places from one frame to the next."""
        return max(round(self.period / self._duration(1)), 1)

    def _duration(self, places: int) -> float:
        """The seconds that a number of places take."""
        assert self.stream.time_base is not None  # the decoder knows it for every stream that it reads
        return float(places * self.stream.time_base)
