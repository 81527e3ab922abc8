"""One segment of a video in a pickle of sequences, and the checks that pickles of all projects share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError

PARTS = {"train": "train", "valid": "val", "test": "test"}
MODALITIES = ("text", "audio", "video")
KEYS = {"text": "text", "audio": "audio", "video": "vision"}
IDS = "text, (n,) names or (n, 3) video, start, end"
AGAIN = "The file is damaged: download it again."
Content = Mapping[str, object]  # key -> value, one part of a pickle


@dataclass(frozen=True)
class Sample:
    """One segment of a video.

    id: the segment, unique unless the file has it twice.
    video: the video that it is part of, or all that its name says of it.
    part: train, val or test.
    labels: its numbers: one score or class, or one for each of several labels.
    values: modality -> (T, C) numbers.
    name: its name as it is in the file.
    aligned: whether the steps of all modalities are the same points in time.
    own: modality -> the score of this modality alone, where the file has them.
    """

    id: str
    video: str
    part: str
    labels: tuple[float, ...]
    values: Mapping[str, Array]
    name: str = ""
    aligned: bool = True
    own: Mapping[str, float] = field(default_factory=dict)


def value_of(path: Path, part: str, key: str, content: Content, form: str) -> Array:
    """The array under a key of a part; UserError that names both if it is missing or not an array.

    form: the form of the whole file in words.
    """
    if key not in content:
        raise UserError(f"'{path}': '{part}' has no '{key}' (it has {', '.join(map(str, content))}). Expected: {form}.")
    value = content[key]
    if isinstance(value, list) and key == "id":
        _require_flat(path, part, value)
        try:
            value = np.array(value)
        except ValueError as error:
            raise UserError(f"'{path}': 'id' of '{part}' is ragged ({error}). Needed: {IDS}.") from error
    if not isinstance(value, np.ndarray):
        raise UserError(f"'{path}': '{key}' of '{part}' is not an array but {type(value).__name__}. Expected: {form}.")
    return value


def features(path: Path, part: str, content: Content, form: str) -> dict[str, Array]:
    """Modality -> (n, T, C) numbers."""
    values = {m: value_of(path, part, key, content, form) for m, key in KEYS.items()}
    for m, x in values.items():
        if x.dtype.kind not in "iuf" or x.ndim != 3:
            raise UserError(f"'{path}': '{KEYS[m]}' of '{part}' is {x.dtype} {x.shape}. Needed: numbers (n, T, C).")
    return values


def names(path: Path, part: str, content: Content, form: str) -> list[list[str]]:
    """The names of each sample: [segment] or [video, start, end]; numbers become text."""
    ids = value_of(path, part, "id", content, form)
    if ids.dtype.kind not in "SUOiu" or ids.ndim == 0 or ids.size not in (len(ids), 3 * len(ids)):
        raise UserError(f"'{path}': 'id' of '{part}' is {ids.dtype} {ids.shape}. Needed: {IDS}.")
    rows = ids.reshape(len(ids), -1 if len(ids) else 1).tolist()
    try:
        return [[_text(x) for x in row] for row in rows]
    except ValueError as error:
        raise UserError(f"'{path}': 'id' of '{part}' is not text ({error}). {AGAIN}") from error


def _require_flat(path: Path, part: str, ids: list[object]) -> None:
    """UserError unless ids are names, or lists of names: nested ones may share parts, and be endless when unrolled."""
    inner = [one for row in ids if isinstance(row, list | tuple) for one in row]
    if any(isinstance(one, list | tuple | dict | set | frozenset) for one in inner):
        raise UserError(f"'{path}': 'id' of '{part}' is nested too deep. Needed: {IDS}.")


def require_equal(path: Path, part: str, counts: Mapping[str, int]) -> None:
    """UserError unless all arrays of a part have the same number of samples. counts: key -> number."""
    if len(set(counts.values())) > 1:
        raise UserError(f"'{path}': '{part}' has different numbers of samples: {dict(counts)}. {AGAIN}")


def _text(x: object) -> str:
    """An id as text; ValueError if it cannot be written as UTF-8, as bytes of another encoding and lone surrogates."""
    return (x if isinstance(x, bytes) else str(x).encode()).decode()
