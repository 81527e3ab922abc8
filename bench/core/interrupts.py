"""Ctrl-C that cannot get lost: held back while processes start, known even where a library has swallowed it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class _Remembering:
    """A handler that raises KeyboardInterrupt as Python's own does, and knows afterwards that it has."""

    def __init__(self) -> None:
        self.struck = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.struck = True
        signal.default_int_handler(number, frame)


@contextmanager
def remembered() -> Iterator[None]:
    """Inside, `struck` and `check` know of every Ctrl-C: some libraries swallow it while they are imported.

    Without effect where SIGINT is ignored, as in a shell's background, or handled by somebody else.
    """
    if not _in_main_thread() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _Remembering())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def struck() -> bool:
    """Whether there was a Ctrl-C since `remembered` was entered."""
    handler = signal.getsignal(signal.SIGINT)
    return isinstance(handler, _Remembering) and handler.struck


def check() -> None:
    """KeyboardInterrupt if there was one before, which somebody has swallowed."""
    if struck():
        raise KeyboardInterrupt


@contextmanager
def deferred() -> Iterator[None]:
    """Ctrl-C inside strikes when the block has ended; processes that start inside are deaf to it from the beginning."""
    if not _in_main_thread():
        yield
        return
    noted: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: noted.append(number))  # other threads still take it
    try:
        with blocked():
            yield
    finally:
        signal.signal(signal.SIGINT, before)
        if noted:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def blocked() -> Iterator[None]:
    """A process that starts inside is deaf to Ctrl-C, which its parent answers."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _in_main_thread() -> bool:
    """Handlers can be set there only."""
    return threading.current_thread() is threading.main_thread()
