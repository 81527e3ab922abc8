"""Decoded columns of media that took long are kept in HOME/decoded, by all that decides their bytes, for later runs."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.files import whole_file
from mcr_bench.bench.core.home import default_home
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache.libraries import MEDIA, versions
from mcr_bench.datasets.cache.recipe import DECODER, Settings
from mcr_bench.datasets.formats.npz import digest, read_arrays

LONG = 2.0  # seconds: what is decoded faster is decoded again


def kept(paths: Sequence[Path | None], kind: str, settings: Settings, decode: Callable[[], Array]) -> Array:
    """What `decode` returns, (N, ...), read from HOME/decoded if the same files were decoded before with the same
    settings and libraries; the file is whole or missing, and one that is damaged or cannot be written is ignored.
    """
    place = default_home() / "decoded" / f"{_name(paths, kind, settings)}.npz"
    if place.is_file():
        with suppress(UserError, KeyError):
            return read_arrays(place)["rows"]
    started = time.monotonic()
    rows = decode()
    if time.monotonic() - started > LONG:
        with suppress(OSError), whole_file(place) as file:
            np.savez(file, rows=rows)
    return rows


def _name(paths: Sequence[Path | None], kind: str, settings: Settings) -> str:
    files = [digest(path) if path else "" for path in paths]
    text = json.dumps([DECODER, versions(MEDIA), kind, dict(settings), files], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
