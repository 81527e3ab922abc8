"""Digests of this package's methods, kept beside the record: making them takes seconds, and only its files decide them.

The file may be deleted at any time. It is read only where all that a digest can depend on is as it was, and where it is
what was written: because of a wrong digest, finished runs would be trained again.
"""

import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.core.home import default_home
from mcr_bench.bench.core.sources.closure import LIBRARIES, SHARED
from mcr_bench.bench.errors import UserError

DIGEST = re.compile(r"[0-9a-f]{16}")
ROOT = Path(__file__).parents[3]
CODE = ("methods/**/*.py", "bench/core/behaviour.py", "bench/core/sources/*.py")  # of methods, and of the digest itself


def kept_digest(cls: type) -> str | None:
    """The digest of a method of this package as an earlier command has kept it; None where none is kept."""
    return _known().get(_name(cls)) if _is_kept(cls) else None


def keep(digests: Mapping[type, str], home: Path) -> None:
    """Keep the digests of methods of this package in `home`, where it may be written."""
    known, made = _known(), {_name(cls): digest for cls, digest in digests.items() if _is_kept(cls)}
    if made.keys() - known.keys():
        known.update(made)  # a notebook runs many comparisons, of which only one has something to add
        content = {"stamp": _stamp(), "digests": known, "seal": _seal(known)}
        with suppress(OSError):
            write_whole(_file(home), json.dumps(content, indent=1))


def _is_kept(cls: type) -> bool:
    """Whether it is a method of this package, and no other class that goes by its name."""
    return cls.__module__.startswith(SHARED) and getattr(sys.modules[cls.__module__], cls.__name__, None) is cls


def _name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _file(home: Path) -> Path:
    return home / "cache" / "digests.json"


@cache
def _known() -> dict[str, str]:
    try:
        return read(_file(default_home()), _stamp())
    except UserError:  # there is no home: commands that need one say so
        return {}


def read(file: Path, stamp: str) -> dict[str, str]:
    """Method -> digest, of a file with this stamp; none of any other file."""
    try:
        content = json.loads(file.read_bytes())
        digests, whole = content["digests"], content["seal"] == _seal(content["digests"])
        kept = digests.items() if whole and content["stamp"] == stamp else ()
        return {name: digest for name, digest in kept if DIGEST.fullmatch(digest)}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _seal(digests: object) -> str:
    """A checksum of the digests, which may be anything where the file is damaged."""
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


@cache
def _stamp() -> str:
    """Digest of the code, of the version of Python, and of where libraries lie: what lies elsewhere counts."""
    digest = hashlib.sha256(os.fsencode(f"{sys.version} {os.environ.get('PYTHONPATH', '')}"))
    for place in map(Path, sys.path):
        if LIBRARIES & {*place.parts} and os.path.isdir(place):  # False where this user may not enter a folder above
            digest.update(os.fsencode(f"{place} {place.stat().st_mtime_ns}"))
    for path in sorted(path for pattern in CODE for path in ROOT.glob(pattern)):
        digest.update(f"{path.relative_to(ROOT)} {path.stat().st_size} ".encode() + path.read_bytes())
    return digest.hexdigest()
