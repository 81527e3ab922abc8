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
    """Append an entry; OSError leaves those before it as they were. safe: wait until it is on the disk.

    What a kill has left of a last line goes first: the entry would become a part of it, and be lost with it.
    """
    new = not path.exists()
    with path.open("a+b", buffering=0) as file:
        before = file.tell()
        ended = not before or os.pread(file.fileno(), 1, before - 1) == b"\n"
        if not ended and (fragment := _fragment(path.read_bytes())):
            before, ended = before - len(fragment), True
            file.truncate(before)
        try:
            _write(file.fileno(), (b"" if ended else b"\n") + _line(entry))
        except OSError:
            file.truncate(before)
            raise
        if safe:
            os.fsync(file.fileno())
    if new:
        sync_folder(path.parent)


def read(path: Path) -> list[Entry]:
    """The entries of a journal, without what a kill has left of a last line; Damaged if another line is wrong."""
    content = path.read_bytes()
    try:
        return [of_data(_content(line)) for line in content.removesuffix(_fragment(content)).splitlines()]
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


def _fragment(content: bytes) -> bytes:
    """The last line of a journal if its end is missing; one that lacks its line break alone is whole."""
    last = content.rpartition(b"\n")[2]
    return b"" if _is_whole(last) else last


def _content(line: bytes) -> dict[str, object]:
    if not _is_whole(line):
        raise ValueError("a checksum is wrong")
    content: dict[str, object] = json.loads(line.partition(b" ")[2])
    return content


def _is_whole(line: bytes) -> bool:
    checksum, _, text = line.partition(b" ")
    return checksum == _checksum(text)


def _checksum(text: bytes) -> bytes:
    return blake2b(text, digest_size=8).hexdigest().encode()
