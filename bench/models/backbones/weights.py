"""Where pre-trained weights lie, and what they are: the content of a local folder becomes part of a run's key."""

import hashlib
import re
from functools import lru_cache
from pathlib import Path

from mcr_bench.bench.errors import UserError

PIN = re.compile(r"@sha256-([0-9a-f]{16})$")
FILES = ("*.json", "*.safetensors", "*.bin")


def pinned(weights: str) -> str:
    """`encoder.weights` with the digest of a local folder's files behind it; a name on the hub stays as it is."""
    folder = PIN.sub("", weights)
    return f"{folder}@sha256-{_digest(Path(folder))}" if folder and Path(folder).is_dir() else folder


def folder_of(weights: str) -> str:
    """The folder or name itself; UserError where the folder's files are no longer those that were pinned."""
    pin, folder = PIN.search(weights), PIN.sub("", weights)
    if pin and Path(folder).is_dir() and _digest(Path(folder)) != pin.group(1):
        raise UserError(
            f"encoder.weights={folder}: the files there have changed since the run was planned. Plan again."
        )
    return folder


def _digest(folder: Path) -> str:
    files = sorted({path for pattern in FILES for path in folder.glob(pattern)})
    parts = "".join(f"{path.name} {file_digest(path)}\n" for path in files)
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """SHA-256 of a file; read again only when its size or its time of change is another."""
    return _content((path, path.stat().st_size, path.stat().st_mtime_ns))


@lru_cache(maxsize=256)
def _content(state: tuple[Path, int, int]) -> str:
    with state[0].open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
