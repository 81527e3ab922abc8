"""Where pre-trained weights lie, and what they are: the content of a local folder becomes part of a run's key."""

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from mcr_bench.bench.errors import UserError

PIN = re.compile(r"@sha256-[0-9a-f]{16}$")
FILES = ("*.json", "*.safetensors", "*.bin")
NEWEST = "main"


def pinned(weights: str, commit: Callable[[str, str], str | None]) -> str:
    """`encoder.weights` with what they are behind an @: the digest of a local folder's files, the commit on the hub.

    commit: (name, revision) on the hub -> the commit that it stands for, None where nobody says.
    """
    folder = PIN.sub("", weights)
    if not folder:
        return ""
    if Path(folder).is_dir():
        return f"{folder}@sha256-{_digest(Path(folder))}"
    name, _, revision = weights.partition("@")
    newest = commit(name, revision or NEWEST) or revision
    return f"{name}@{newest}" if newest else name


def content_of(weights: str) -> str:
    """What of pinned weights belongs to a run's key: of a local folder the content, wherever it lies."""
    pin = PIN.search(weights)
    return pin.group()[1:] if pin else weights


def place_of(weights: str) -> tuple[str, str]:
    """Folder, or name on the hub, and revision; UserError where a folder's files are not those that were pinned."""
    pin, folder = PIN.search(weights), PIN.sub("", weights)
    if not Path(folder).is_dir():
        name, _, revision = weights.partition("@")
        return name, revision or NEWEST
    if pin and f"@sha256-{_digest(Path(folder))}" != pin.group():
        raise UserError(
            f"encoder.weights={folder}: the files there have changed since the run was planned. Plan again."
        )
    return folder, NEWEST


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
