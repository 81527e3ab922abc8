"""How an adapter describes raw clips and their decoding. Imports no torch, because the workers that decode do not."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.datasets.cache.libraries import MEDIA

DECODER = 2  # to be raised when media/ gives other bytes for a file; part of every recipe that uses its libraries
Settings = Mapping[str, Any]  # name -> JSON value; the function that decodes knows the type of each of its settings


@dataclass(frozen=True)
class Clip:
    """One sample of a raw folder.

    id: its unique name.
    label: its class index or its score.
    group: the actor, video or subject whose clips belong together.
    files: role, such as audio or video -> path of the file.
    span: start and end in seconds, if the clip is a part of its file; None for the whole file.
    """

    id: str
    label: float
    group: str
    files: Mapping[str, Path]
    span: tuple[float, float] | None = None


@dataclass
class Scan:
    """The content of a raw folder.

    clips: the clips that can be decoded.
    problems: (file or clip, reason) of everything that is left out before anything is decoded.
    lists: name -> content of the split lists; they are kept in the cache.
    notes: (folder or list, remark) about files that leave no clip out by themselves: files that are ignored, clips with
        another suffix, clips that no list contains.
    """

    clips: list[Clip]
    problems: list[tuple[str, str]] = field(default_factory=list)
    lists: dict[str, bytes] = field(default_factory=dict)
    notes: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Field:
    """One array of a cache.

    shape: the shape of one row.
    dtype: the dtype in NumPy's words, such as float16.
    padded: whether rows (T, C) may be shorter than `shape`; their lengths are then kept in the index.
    """

    shape: tuple[int, ...]
    dtype: str
    padded: bool = False


@dataclass(frozen=True)
class Recipe:
    """How a clip becomes a row of each array of a cache.

    name: the name of the recipe, the first part of the cache's folder.
    settings: everything that decides the bytes: JSON values, with a version that is raised when `decode` changes.
    fields: name -> array of the cache.
    decode: (clip, settings) -> field -> array, in the shape of a row. It raises `Unusable` for a clip that cannot be
        used. It must be a function at the top level of a module, because it runs in worker processes; its module
        should not import torch, which would cost each worker seconds and 200 MB.
    libraries: modules whose versions may change the bytes slightly; they are recorded with a cache, but they are not
        part of the digest.
    """

    name: str
    settings: Settings
    fields: Mapping[str, Field]
    decode: Callable[[Clip, Settings], Mapping[str, Array]]
    libraries: tuple[str, ...] = MEDIA

    @property
    def row_bytes(self) -> int:
        """The bytes of one row of all arrays."""
        return sum(math.prod(f.shape) * np.dtype(f.dtype).itemsize for f in self.fields.values())

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits of everything that decides the bytes."""
        fields = {name: [list(f.shape), f.dtype, f.padded] for name, f in self.fields.items()}
        decoder = [DECODER] if set(MEDIA) & set(self.libraries) - {"numpy"} else []
        text = json.dumps([self.name, dict(self.settings), fields, *decoder], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]
