"""Files that are not what was written: seen when they are read, and set aside.

A file of PyTorch's is a zip archive with a checksum of every part. The key of its run is added as the archive's
comment, which leaves it a file that `torch.load` reads.
"""

import os
import struct
from itertools import count
from pathlib import Path
from typing import BinaryIO
from zipfile import ZIP_STORED, ZipFile

from mcr_bench.bench.core.files import move_whole

MARK = "mcr-bench "
ASIDE = ".damaged"


class Damaged(Exception):
    """A file cannot be used.

    path: the file.
    key: the key of the run whose state it should hold.
    """

    def __init__(self, path: Path, key: str, why: str) -> None:
        super().__init__(f"'{path}' is damaged: {why}")
        self.path, self.key, self.why = path, key, why

    def __reduce__(self) -> tuple[type["Damaged"], tuple[Path, str, str]]:
        return Damaged, (self.path, self.key, self.why)


def sign(file: BinaryIO, key: str) -> None:
    """Add the key of its run to an archive that has just been written to `file` and has no comment."""
    comment = f"{MARK}{key}".encode()
    file.seek(-2, os.SEEK_END)  # an archive ends with the length of its comment, and the comment
    file.write(struct.pack("<H", len(comment)) + comment)


def check_archive(path: Path, key: str | None) -> None:
    """Damaged if the file at `path` is not a whole archive of the run with this key; None for that of any run.

    One of an earlier version, which was not signed, is compared with its checksums alone. Errors of reading it pass.
    """
    if not path.is_file():
        raise Damaged(path, key or "", "it is not a file" if os.path.lexists(path) else "it is missing")
    with ZipFile(path) as archive:
        if any(part.compress_type != ZIP_STORED for part in archive.infolist()):
            raise Damaged(path, key or "", "it is another kind of file")
        if (part := archive.testzip()) is not None:
            raise Damaged(path, key or "", f"its part {part} differs from its checksum")
        signed = archive.comment.decode("utf-8", "replace")
        if key is not None and signed and signed != f"{MARK}{key}":
            raise Damaged(path, key, f"it is not of this run but of {signed.removeprefix(MARK)}")


def set_aside(path: Path) -> Path:
    """Rename what is at `path`, a file or a folder, to a name beside it that nobody reads; returns that name."""
    names = (path.with_name(f"{path.name}{ASIDE}{number or ''}") for number in count())
    aside = next(name for name in names if not os.path.lexists(name))
    move_whole(path, aside)
    return aside
