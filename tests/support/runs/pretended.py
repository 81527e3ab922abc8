"""A dataset made of clips that were never decoded: for tests of lists, protocols and audits at full size."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from mcr_bench.datasets.cache.opened import Cache, Index
from mcr_bench.datasets.clips.dataset import ClipDataset, Scan

T = TypeVar("T", bound=ClipDataset)


def name_files(folder: Path, names: Iterable[str]) -> Path:
    """Empty files of these names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def pretend(data: T, scanned: Scan) -> T:
    """`data` with a cache of all scanned clips; the content of a clip is its id's hash."""
    ids = [clip.id for clip in scanned.clips]
    contents = [hashlib.sha256(key.encode()).hexdigest() for key in ids]
    index = Index(
        ids, [clip.group for clip in scanned.clips], contents, np.array([clip.label for clip in scanned.clips])
    )
    return with_index(data, index, scanned.lists, scanned.problems)


def with_index(data: T, index: Index, lists: Mapping[str, bytes], problems: Iterable[tuple[str, str]] = ()) -> T:
    """`data` with a cache of these clips and lists, and of no samples."""
    manifest = {"problems": list(problems), "quarantine": [], "fingerprint": "none"}
    rows = np.arange(len(index.ids))
    data.__dict__["cache"] = Cache(data.folder, manifest, index, rows, index.contents, lists, arrays={}, steps={})
    return data
