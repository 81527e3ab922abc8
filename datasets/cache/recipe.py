"""What an adapter says of raw clips and of how they are decoded; free of torch, as the workers that decode are."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcr_bench.bench.core.arrays import Array
from mcr_bench.datasets.cache.libraries import MEDIA

DECODER = 2  # raised when media/ gives other bytes for the same file; part of every recipe that uses its libraries


@dataclass(frozen=True)
class Clip:
    """One sample of a raw folder. files: role -> path; span: seconds from start to end, where it is part of a file.

    label: class index or score. group: actor, video or subject, whose clips belong together.
    """

    id: str
    label: float
    group: str
    files: Mapping[str, Path]
    span: tuple[float, float] | None = None


@dataclass
class Scan:
    """A raw folder. problems: (file or clip, reason) of all that is left out before anything is decoded.

    lists: name -> content of the split lists found; they are kept in the cache.
    notes: (folder or list, what) of what was found there that leaves out no clip by itself: files passed over, clips
    under another suffix, clips that no list names.
    """

    clips: list[Clip]
    problems: list[tuple[str, str]] = field(default_factory=list)
    lists: dict[str, bytes] = field(default_factory=dict)
    notes: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Field:
    """One array of a cache: shape of a row and dtype. padded: rows (T, C) may be shorter; their lengths are kept."""

    shape: tuple[int, ...]
    dtype: str
    padded: bool = False


@dataclass(frozen=True)
class Recipe:
    """How a clip becomes rows. Everything that decides the bytes is in `settings` (JSON values, a version among them).

    libraries: modules whose versions may change the bytes a little; they are noted beside a cache and are not part of
    the digest. decode: (clip, settings) -> field -> array, a function of a module; raises `Unusable`. It runs in
    worker processes, so its module imports no torch: that would cost each of them seconds and 200 MB.
    """

    name: str
    settings: Mapping[str, Any]
    fields: Mapping[str, Field]
    decode: Callable[[Clip, Mapping[str, Any]], Mapping[str, Array]]
    libraries: tuple[str, ...] = MEDIA

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits of everything that decides the bytes."""
        fields = {name: [list(f.shape), f.dtype, f.padded] for name, f in self.fields.items()}
        decoder = [DECODER] if set(MEDIA) & set(self.libraries) - {"numpy"} else []
        text = json.dumps([self.name, dict(self.settings), fields, *decoder], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]
