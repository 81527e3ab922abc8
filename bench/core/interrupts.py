"""Requests to stop that cannot get lost: Ctrl-C, SIGTERM and SIGHUP become KeyboardInterrupt.

They are delayed while processes start, and noticed even where a library swallows the exception.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# A terminal's Ctrl-C; what a scheduler sends before it takes a machine away; a terminal that has gone.
STOPPING = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
DEFAULTS = (signal.default_int_handler, signal.SIG_DFL)


class _Remembering:
    """A signal handler that raises KeyboardInterrupt, as Python's own does, and records which signal was the first.

    A second signal does not disturb the end that the first one has begun; a second Ctrl-C does, as somebody waits.
    """

    def __init__(self) -> None:
        self.called = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        first, self.called = not self.called, self.called or number
        if first or number == signal.SIGINT:
            signal.default_int_handler(number, frame)


@contextmanager
def remembered() -> Iterator[None]:
    """Inside the block, `interrupted` and `check` know of every request to stop, even one that a library has swallowed.

    Some libraries do so while they are imported. The block has no effect on a signal that is ignored, as Ctrl-C is for
    a background job of a shell and SIGHUP under nohup, or for which the program has another handler.
    """
    ours = [number for number in STOPPING if _in_main_thread() and signal.getsignal(number) in DEFAULTS]
    before, handler = {number: signal.getsignal(number) for number in ours}, _Remembering()
    for number in ours:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def interrupted() -> int:
    """The number of the signal that has asked to stop since `remembered` was entered; 0 if none has."""
    handlers = [signal.getsignal(number) for number in STOPPING]
    return max((one.called for one in handlers if isinstance(one, _Remembering)), default=0)


def check() -> None:
    """Raise KeyboardInterrupt if a signal has asked to stop since `remembered` was entered and was swallowed."""
    if interrupted():
        raise KeyboardInterrupt


@contextmanager
def deferred() -> Iterator[None]:
    """Delay requests to stop until the block has ended. Processes that start inside ignore Ctrl-C from the start."""
    if not _in_main_thread():
        yield
        return
    pressed: list[int] = []
    before = {number: signal.getsignal(number) for number in STOPPING}
    ours = [number for number, handler in before.items() if handler is not None]  # None: not set from Python
    for number in ours:
        signal.signal(number, lambda number, _: pressed.append(number))  # other threads can still get it
    try:
        with blocked():
            yield
    finally:
        for number in ours:
            signal.signal(number, before[number])
        for struck in dict.fromkeys(pressed):
            signal.raise_signal(struck)


@contextmanager
def blocked() -> Iterator[None]:
    """A process that starts inside the block ignores Ctrl-C: its parent decides what happens to it."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _in_main_thread() -> bool:
    """Python can set signal handlers in the main thread only."""
    return threading.current_thread() is threading.main_thread()
