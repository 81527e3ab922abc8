"""Checksums of the files of runs: on record since the file was stored, and compared whenever it is read.

The checksum of a run's file FILE is its tag `sha256/FILE`. Runs of earlier versions have none.
"""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

PREFIX = "sha256/"


class Damaged(OSError):
    """A file of a run does not hold what was recorded."""


def checksum(content: bytes) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits.

    >>> checksum(b"")[:16]
    'e3b0c44298fc1c14'
    """
    return sha256(content).hexdigest()


def checksum_tags(contents: Mapping[str, bytes]) -> dict[str, str]:
    """The tags that hold the checksums of a run's files. contents: name of a file -> its content."""
    return {PREFIX + name: checksum(content) for name, content in contents.items()}


def checksums_in(tags: Mapping[str, str]) -> dict[str, str]:
    """Name of a file -> its checksum, from the tags of a run."""
    return {name.removeprefix(PREFIX): text for name, text in tags.items() if name.startswith(PREFIX)}


def content_of(path: Path, expected: str) -> bytes:
    """The content of a file of a run; OSError if it is missing, `Damaged` if its checksum is not `expected`.

    expected: the checksum on record; with "", that of a run of an earlier version, nothing is compared.
    """
    content = path.read_bytes()
    if expected and checksum(content) != expected:
        raise Damaged(f"'{path}' does not have the SHA-256 on record")
    return content
