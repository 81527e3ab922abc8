"""Ctrl-C that cannot get lost: it is delayed while processes start, and noticed even where a library swallows it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class _Remembering:
    """A signal handler that raises KeyboardInterrupt, as Python's own does, and records that it was called."""

    def __init__(self) -> None:
        self.called = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.called = True
        signal.default_int_handler(number, frame)


@contextmanager
def remembered() -> Iterator[None]:
    """Inside the block, `interrupted` and `check` know of every Ctrl-C, even one that a library has swallowed.

    Some libraries do so while they are imported. The block has no effect where SIGINT is ignored, as for a background
    job of a shell, or where the program has another handler for it.
    """
    if not _in_main_thread() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _Remembering())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def interrupted() -> bool:
    """Whether Ctrl-C was pressed since `remembered` was entered."""
    handler = signal.getsignal(signal.SIGINT)
    return isinstance(handler, _Remembering) and handler.called


def check() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed since `remembered` was entered and a library has swallowed it."""
    if interrupted():
        raise KeyboardInterrupt


@contextmanager
def deferred() -> Iterator[None]:
    """Delay Ctrl-C until the block has ended. Processes that start inside ignore Ctrl-C from their beginning."""
    if not _in_main_thread():
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))  # other threads can still get it
    try:
        with blocked():
            yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pressed:
            signal.raise_signal(signal.SIGINT)


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
