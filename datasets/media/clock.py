"""When each frame of a video is on screen."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from mcr_bench.datasets.media.reasons import AGAIN, Unusable

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

LONGEST = 86_400.0  # seconds: a longer stated length is made up, as by programs that did not know it


def origin(container: "InputContainer") -> float:
    """Seconds at which the clock of the file starts; container times are in microseconds."""
    return (container.start_time or 0) / 1_000_000


def period(stream: "VideoStream") -> float:
    """Seconds from one frame to the next; 0 where the file does not say."""
    rate = stream.average_rate or stream.guessed_rate
    return 1 / float(rate) if rate else 0.0


def require_length(
    container: "InputContainer", stream: "VideoStream | AudioStream", end: float, tolerated: float, path: Path
) -> None:
    """`Unusable` where the stream ends much earlier than the file says: nothing else tells of a broken download.

    end: in seconds of the clock of the file. tolerated: share of the stated length, and seconds on top of it.
    """
    if stream.duration is not None and stream.time_base is not None:
        stated = float(stream.duration * stream.time_base)
    else:
        stated = (container.duration or 0) / 1_000_000 - max(origin(container), 0)  # Matroska counts from 0
    if stated < LONGEST and end < stated * (1 - tolerated) - tolerated:
        raise Unusable(f"{path.name}: truncated, {end:.2f} s of {stated:.2f} s are there. {AGAIN}")


class Reel:
    """Iterates over (seconds, frame) in the order of display; at least one, or `Unusable`.

    Containers with time stamps of display say when a frame is shown. AVI (and what was copied from it without new time
    stamps) only counts the places in which frames are coded, and a decoder that reorders gives its first frame after
    `lag` more of them were read. The n-th frame shown then belongs to place n + lag, and the first is at second 0.
    Empty places between frames (pictures dropped by a recorder) count; those after the very first packet do not,
    because writers of AVI put the first packet at place 0 whenever it is due.
    """

    def __init__(self, container: "InputContainer", stream: "VideoStream", path: Path) -> None:
        self.container, self.stream, self.path = container, stream, path
        self.period, self.origin = period(stream), origin(container)
        self.tick = stream.time_base or Fraction(1)  # seconds from one place to the next
        self.by_place = container.format.name == "avi"
        self.places: list[int] = []
        self.lag = 0
        self.last = 0.0

    @property
    def end(self) -> float:
        """Seconds at which the last frame given so far ends."""
        return self.last + self.period

    @property
    def coded(self) -> float:
        """Seconds of the file that were read so far, to be held against its stated length."""
        if not self.by_place or not self.places:
            return self.end
        return float((self.places[-1] - self.places[0] + self._step()) * self.tick)

    def __iter__(self) -> Iterator[tuple[float, "VideoFrame"]]:
        number = -1
        for number, frame in enumerate(self._frames()):
            if frame.is_corrupt:  # the decoder has filled in what it could not read
                raise Unusable(f"{self.path.name}: damaged, frame {number} cannot be decoded as it was. {AGAIN}")
            self.last = self._seconds(number, frame)
            yield self.last, frame
        if number < 0:
            raise Unusable(f"{self.path.name}: no frame can be decoded. {AGAIN}")

    def _frames(self) -> Iterator["VideoFrame"]:
        found = False
        for packet in self.container.demux(self.stream):
            if packet.size and packet.dts is not None:
                self.by_place = self.by_place or (packet.pts is None and not self.places)
                self.places.append(packet.dts)
            for frame in packet.decode():
                if not found:
                    found, self.lag = True, max(len(self.places) - 1, 0)
                yield frame

    def _seconds(self, number: int, frame: "VideoFrame") -> float:
        if self.by_place and self.places:
            return float(self._place(number) * self.tick)
        return number * self.period if frame.time is None else float(frame.time) - self.origin

    def _place(self, number: int) -> int:
        """Of the n-th frame shown, counted from the first."""
        if not number:
            return 0
        at, places = number + self.lag, self.places
        known = places[at] if at < len(places) else places[-1] + (at - len(places) + 1) * self._step()
        first = places[self.lag] if self.lag or len(places) < 2 else places[1] - self._step()
        return known - first

    def _step(self) -> int:
        """Places from one frame to the next."""
        return max(round(self.period / float(self.tick)), 1)
