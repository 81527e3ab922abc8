"""Raw clips of bytes for the tests of `prepare`, and ways to decode them; free of torch, because workers import it."""

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.datasets.cache.recipe import Clip, Field, Recipe, Scan
from mcr_bench.datasets.media.reasons import Unusable, report

FIELDS = {"video": Field((2, 3, 4), "uint8"), "text": Field((5, 2), "float32", padded=True), "aspect": Field((), "f4")}


def decode(clip: Clip, settings: Mapping[str, Any]) -> Mapping[str, Array]:
    """video counts up from the first byte, text has as many steps as the second byte says, aspect is their ratio.

    A file that begins with a word does what the word says.
    """
    content = clip.files["raw"].read_bytes()
    word = content.split(b" ")[0].decode(errors="replace")
    if word in TRICKS:
        TRICKS[word](clip.files["raw"])
    time.sleep(settings.get("seconds", 0))
    first, steps = content[0], content[1] % 5 + 1
    rows: dict[str, Array] = {
        "video": np.arange(first, first + 24).astype(np.uint8).reshape(2, 3, 4),
        "text": np.full((steps, 2), first / 2, np.float32),
        "aspect": np.float32(first / steps),
    }
    return rows | CHANGES.get(word, {})


def _unusable(path: Path) -> None:
    raise Unusable(f"{path.name} is truncated. Copy it again.")


def _broken(path: Path) -> None:
    raise KeyError(f"{path} at {hex(id(path))}")


def _killed(_: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _left(path: Path) -> None:
    os._exit(len(path.name))


def _killed_once(path: Path) -> None:
    mark = path.parent.with_name("killed-once")
    if not mark.exists():
        mark.touch()
        _killed(path)


def _odd(path: Path) -> None:
    for what in ("looks odd", f"is called {path.name}", "looks odd"):
        report(what)


def _no_torch(_: Path) -> None:
    raise Unusable(f"torch is {'' if 'torch' in sys.modules else 'not '}imported")


TRICKS = {
    "torch": _no_torch,
    "unusable": _unusable,
    "odd": _odd,
    "broken": _broken,
    "crash": _killed,
    "exit": _left,
    "once": _killed_once,
}
CHANGES: dict[str, dict[str, Array]] = {
    "shape": {"video": np.zeros((2, 3, 5), np.uint8)},
    "dtype": {"video": np.zeros((2, 3, 4), np.float32)},
    "nan": {"text": np.array([[0, np.nan]], np.float32)},
    "infinite": {"aspect": np.asarray(np.float32(np.inf))},
    "long": {"text": np.zeros((6, 2), np.float32)},
    "empty": {"text": np.zeros((0, 2), np.float32)},
    "other": {"more": np.zeros(1)},
}


def recipe(**settings: object) -> Recipe:
    """The recipe of all these tests."""
    return Recipe("bytes", {"version": 1, **settings}, FIELDS, decode, ("numpy",))


def raw(source: Path, count: int = 6, **contents: bytes) -> Path:
    """A raw folder of `count` files; contents: of further ones, or of some of these."""
    source.mkdir(parents=True, exist_ok=True)
    for at in range(count):
        (source / f"clip{at:03}").write_bytes(bytes([at % 256, at * 7 % 256]) * 50)
    for name, content in contents.items():
        (source / name).write_bytes(content)
    return source


def scan(source: Path, **lists: bytes) -> Scan:
    """Every file is a clip; its label and group follow from its place in the order."""
    files = sorted(source.iterdir())
    return Scan([Clip(f.name, at % 3, f"g{at % 2}", {"raw": f}) for at, f in enumerate(files)], lists=dict(lists))


@dataclass(frozen=True)
class Request:
    """As `Preparation`, whose module imports torch."""

    source: Path
    splits: Sequence[Path] = ()
    jobs: int = 1
    progress: Callable[[int, int], None] = lambda *_: None


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a cache."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
