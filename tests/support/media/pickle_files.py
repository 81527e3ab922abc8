"""Pickles in files: what the tests of their reader share."""

from pathlib import Path
from typing import Any

from mcr_bench.datasets.formats.unpickle import read_pickle

PROTOCOLS = range(6)
PLAIN: dict[str, Any] = {
    "numbers": [0, 1, -2, 255, 256, 70_000, -(2**31), 2**70, -(2**70), 3.5, float("inf"), None, True, False],
    "text": ["", "ü €", "a" * 300, "line\nbreak", "back\\slash", "\ud800"],
    "bytes": [b"", b"\x00\xff\n", b"b" * 300],
    "nested": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [[]], {}, {"k": {1: 2}}, {3: (4,)}),
    "sets": [set(), {1, "a"}, frozenset({2, b"b"})],
}


def stored(folder: Path, content: bytes) -> Path:
    path = folder / "file.pkl"
    path.write_bytes(content)
    return path


def read(folder: Path, content: bytes) -> Any:
    return read_pickle(stored(folder, content))
