"""A file to which entries are appended, each with a checksum of its own."""

import json
import os
from hashlib import blake2b, file_digest
from pathlib import Path

from mcr_bench.bench.core.files import sync_folder
from mcr_bench.bench.record.outbox.entries import Entry, of_data, to_data


class Damaged(Exception):
    """A journal, or a file that it names, does not hold what was written."""


def append(path: Path, entry: Entry, safe: bool) -> None:
    """Append an entry; OSError leaves the file as it was. safe: wait until it is on the disk."""
    new = not path.exists()
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        try:
            _write(file.fileno(), _line(entry))
        except OSError:
            file.truncate(before)
            raise
        if safe:
            os.fsync(file.fileno())
    if new:
        sync_folder(path.parent)


def read(path: Path) -> list[Entry]:
    """The entries of a journal, without what a kill has left of a last line; Damaged if another line is wrong."""
    *whole, _ = path.read_bytes().split(b"\n")
    try:
        return [of_data(_content(line)) for line in whole]
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{path} is damaged: {error}") from error


def digest_of(path: Path) -> str:
    """A digest of the content of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _write(descriptor: int, line: bytes) -> None:
    while line:
        line = line[os.write(descriptor, line) :]


def _line(entry: Entry) -> bytes:
    text = json.dumps(to_data(entry)).encode()
    return _checksum(text) + b" " + text + b"\n"


def _content(line: bytes) -> dict[str, object]:
    checksum, _, text = line.partition(b" ")
    if checksum != _checksum(text):
        raise ValueError("a checksum is wrong")
    content: dict[str, object] = json.loads(text)
    return content


def _checksum(text: bytes) -> bytes:
    return blake2b(text, digest_size=8).hexdigest().encode()
