"""The clock of a video: when each frame is on screen, and how long the file should be."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mcr_bench.datasets.media.reasons import AGAIN, Unusable

if TYPE_CHECKING:
    from av import AudioStream, VideoFrame, VideoStream
    from av.container import InputContainer

LONGEST = 86_400.0  # seconds: a longer stated length is invented, by programs that did not know the real one


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
    if stream.duration is not None and stream.time_base is not None:
        stated = float(stream.duration * stream.time_base)
    else:
        stated = (container.duration or 0) / 1_000_000 - max(origin(container), 0)  # Matroska counts from 0
    if stated < LONGEST and end < stated * (1 - tolerated) - tolerated:
        raise Unusable(f"{path.name}: truncated, it has {end:.2f} s of {stated:.2f} s. {AGAIN}")


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

    @property
    def end(self) -> float:
        """The time in seconds at which the last frame so far ends."""
        return self.last + self.period

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
