"""The work of a worker on one clip: checksums of its files, decoding, and a check of its rows against the recipe."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.datasets.cache.opened import content_of
from mcr_bench.datasets.cache.recipe import Clip, Field, Recipe
from mcr_bench.datasets.formats.npz import digest
from mcr_bench.datasets.media.pictures import checksum_of, pictures_of
from mcr_bench.datasets.media.reasons import AGAIN, Unusable, collected

LONGEST = 400  # characters of a reason

Sums = Mapping[str, tuple[int, str]]  # role of a file -> size, SHA-256


@dataclass(frozen=True)
class Order:
    """A clip to decode.

    slot: its row in the arrays.
    clip: the clip.
    earlier: hashes of sources from which the clip was decoded before; it is not decoded again from one of these.
    sums: role -> size and checksum, of its files that other clips share.
    """

    slot: int
    clip: Clip
    earlier: tuple[str, ...] = ()
    sums: Sums = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """The result of an order: a reason, or rows, or neither if the source is among those that were decoded before.

    sums: role -> size and checksum of its files.
    source: a hash of everything from which the rows are decoded.
    reason: why the clip cannot be used.
    rows: field -> bytes of a whole row, including padding.
    lengths: padded field -> the number of real steps.
    content: a hash of the rows.
    findings: what looks wrong about a clip that can be used.
    """

    sums: Sums
    source: str = ""
    reason: str = ""
    rows: Mapping[str, bytes] = field(default_factory=dict)
    lengths: Mapping[str, int] = field(default_factory=dict)
    content: str = ""
    findings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decoder:
    """Decodes clips in a worker process.

    recipe: how clips are decoded.
    root: the raw folder; reasons do not contain its path.
    """

    recipe: Recipe
    root: Path

    def __call__(self, order: Order) -> Answer:
        """The answer to an order. It never raises: any error is the reason, because damaged files fail in many ways."""
        sums = dict(order.sums)
        try:
            sums |= {role: checksum(path) for role, path in order.clip.files.items() if role not in sums}
            source = source_of(order.clip, sums)
            if source in order.earlier:
                return Answer(sums, source)
            with collected() as findings:
                rows, lengths = self._decode(order.clip)
        except Exception as error:
            return Answer(sums, reason=self._reason(error))
        return Answer(sums, source, "", rows, lengths, content_of(rows, lengths), tuple(findings))

    def _decode(self, clip: Clip) -> tuple[dict[str, bytes], dict[str, int]]:
        if clip.label != clip.label:
            raise Unusable("its label is not a number")
        decoded = self.recipe.decode(clip, self.recipe.settings)
        if set(decoded) != set(self.recipe.fields):
            raise TypeError(f"decoding returned the fields {sorted(decoded)} instead of {sorted(self.recipe.fields)}")
        values = {name: np.asarray(decoded[name]) for name in self.recipe.fields}
        for name, wanted in self.recipe.fields.items():
            require_row(name, values[name], wanted)
        lengths = {name: len(values[name]) for name, wanted in self.recipe.fields.items() if wanted.padded}
        return {name: _row(values[name], wanted) for name, wanted in self.recipe.fields.items()}, lengths

    def _reason(self, error: Exception) -> str:
        text = _described(error)
        for root in (self.root, self.root.resolve()):
            text = text.replace(f"{root}/", "")
        text = re.sub(r"0x[0-9a-f]{6,}", "0x...", " ".join(text.split()))  # addresses differ from run to run
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _described(error: Exception) -> str:
    """An error in words, with the remedy if it is one of reading a file."""
    if isinstance(error, Unusable):
        return str(error)
    if not isinstance(error, OSError) or not error.strerror:
        return f"{type(error).__name__}: {error}"
    match error:
        case FileNotFoundError():
            words = "is missing, or a link to a missing file. Copy the file itself there."
        case IsADirectoryError():
            words = "is a folder, not a file. Copy the file itself there, or delete the folder."
        case PermissionError():
            words = "cannot be read: permission denied. Make it readable."
        case _:
            words = f"cannot be read ({error.strerror}). {AGAIN}"
    return f"{error.filename}: {words}" if error.filename else words


def checksum(path: Path) -> tuple[int, str]:
    """The size and the SHA-256 of a file, which is read once, in blocks; of a folder of frames, of its pictures."""
    if path.is_dir() and pictures_of(path):
        return checksum_of(path)
    return path.stat().st_size, digest(path)


def source_of(clip: Clip, sums: Sums) -> str:
    """A hash of the checksums of the clip's files, with their roles, and of its span."""
    text = json.dumps([sorted((role, sha) for role, (_, sha) in sums.items()), clip.span])
    return hashlib.sha256(text.encode()).hexdigest()


def require_row(name: str, row: Array, wanted: Field) -> None:
    """`Unusable` that names the field if a decoded row has not the shape and dtype of the recipe, or is not finite.

    row: the array, of any shape. wanted: the field as the recipe declares it.
    """
    shape, dtype = wanted.shape, np.dtype(wanted.dtype)
    if wanted.padded:
        fits = row.ndim == len(shape) and 0 < len(row) <= shape[0] and row.shape[1:] == shape[1:]
    else:
        fits = row.shape == shape
    if not fits:
        steps = f" with 1 to {shape[0]} steps" if wanted.padded else ""
        raise Unusable(f"field '{name}' has shape {row.shape} instead of {shape}{steps}")
    if row.dtype != dtype:
        raise Unusable(f"field '{name}' is {row.dtype} instead of {dtype}")
    if dtype.kind == "f" and not np.isfinite(row).all():
        raise Unusable(f"field '{name}' has {int((~np.isfinite(row)).sum())} values that are NaN or infinite")


def _row(value: Array, wanted: Field) -> bytes:
    """The bytes of a row in the shape of its field; a padded one is filled with zeros."""
    if not wanted.padded:
        return value.tobytes()
    row = np.zeros(wanted.shape, wanted.dtype)
    row[: len(value)] = value
    return row.tobytes()
