"""Problems of a media file: why it cannot be used, or what looks wrong about one that can be used.

`Unusable` ends the decoding of a clip. What only looks wrong is passed to `report`, and whoever decodes inside
`collected` receives it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

AGAIN = "Copy it again from the source."

_reported: ContextVar[list[str] | None] = ContextVar("reported", default=None)


class Unusable(Exception):
    """A file that cannot be used; the text is the reason and the remedy."""


def report(finding: str) -> None:
    """Report what looks wrong about the clip that is being decoded; has no effect outside of `collected`.

    >>> with collected() as findings:
    ...     report("all of its frames are black")
    >>> findings
    ['all of its frames are black']
    """
    findings = _reported.get()
    if findings is not None and finding not in findings:
        findings.append(finding)


@contextmanager
def collected() -> Iterator[list[str]]:
    """A list that receives everything reported inside, each finding once, in the order of the reports."""
    findings: list[str] = []
    before = _reported.set(findings)
    try:
        yield findings
    finally:
        _reported.reset(before)
