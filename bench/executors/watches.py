"""How long runs have been at work, and silent: which have had their time, and of which a user should be told."""

import time
from collections.abc import Callable
from dataclasses import dataclass

SILENCE = 300.0  # seconds without an event after which a user should know
LONGER = 3.0  # of a run whose epochs take longer: this many times its longest silence so far


@dataclass
class _Watch:
    """began, heard: when the run began, and when its last event came; longest: its longest silence before that."""

    began: float
    heard: float
    tell_after: float = SILENCE


class Watches:
    """The runs at work. timeout: the seconds that a run may take; None for any time. clock: gives the present time."""

    def __init__(self, timeout: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout, self._clock = timeout, clock
        self._watches: dict[str, _Watch] = {}

    def begin(self, key: str) -> None:
        """Note that a run begins."""
        self._watches[key] = _Watch(self._clock(), self._clock())

    def hear(self, key: str) -> None:
        """Note an event of a run."""
        watch, now = self._watches[key], self._clock()
        watch.tell_after = max(SILENCE, LONGER * (now - watch.heard))
        watch.heard = now

    def end(self, key: str) -> None:
        """Note that a run is no longer at work."""
        self._watches.pop(key, None)

    def overdue(self) -> list[str]:
        """The runs that have taken longer than they may."""
        if self._timeout is None:
            return []
        latest = self._clock() - self._timeout
        return [key for key, watch in self._watches.items() if watch.began <= latest]

    def silent(self) -> list[tuple[str, float]]:
        """The runs to tell of, and for how many seconds each has been silent; the next time is after twice as long."""
        now = self._clock()
        told = [(key, now - one.heard) for key, one in self._watches.items() if now - one.heard >= one.tell_after]
        for key, seconds in told:
            self._watches[key].tell_after = 2 * seconds
        return told
