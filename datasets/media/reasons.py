"""What is said of a media file: why it cannot be used, and what is odd about one that can.

`Unusable` ends the decoding of a clip. What is odd is told with `tell` and reaches whoever decodes inside `collected`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

AGAIN = "Copy it again from the source."

_told: ContextVar[list[str] | None] = ContextVar("told", default=None)


class Unusable(Exception):
    """A file that cannot be used; the text is the reason and the remedy."""


def tell(finding: str) -> None:
    """Note what is odd about the clip that is being decoded; nothing happens outside of `collected`."""
    found = _told.get()
    if found is not None and finding not in found:
        found.append(finding)


@contextmanager
def collected() -> Iterator[list[str]]:
    """A list of what is told inside, each finding once, in the order in which it was told."""
    found: list[str] = []
    before = _told.set(found)
    try:
        yield found
    finally:
        _told.reset(before)
