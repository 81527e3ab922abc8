"""The pickles of MultiBench, checked: train, valid and test of text, audio, vision, labels and id."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.printable import in_line
from mcr_bench.datasets.formats.dialects import dialect_of
from mcr_bench.datasets.formats.opened import opened_once
from mcr_bench.datasets.formats.unpickle import read_pickle

PARTS = {"train": "train", "valid": "val", "test": "test"}
KEYS = {"text": "text", "audio": "audio", "video": "vision"}
# VIDEO[k], VIDEO$_$k or VIDEO_k; the last only for the names of YouTube and Vimeo, because other names may end in _k.
SEGMENT = re.compile(r"(?P<any>.+)(?:\[\d+\]|\$_\$\d+)|(?P<known>[\w-]{11}|\d+)_\d+")
FORM = "train, valid, test, each with text, audio, vision (n, T, C), labels (n, 1, 1), id (n,) or (n, 3)"
IDS = "text, (n,) names or (n, 3) video, start, end"
AGAIN = "The file is damaged: download it again."


@dataclass(frozen=True)
class Sample:
    """One segment of a video.

    id: the segment.
    video: the video that it is part of.
    part: train, val or test.
    score: the sentiment.
    values: modality -> (T, C) numbers, padded with zeros at the start.
    """

    id: str
    video: str
    part: str
    score: float
    values: Mapping[str, Array]


@opened_once
def read_multibench(path: Path) -> list[Sample]:
    """The samples in the order of the file; UserError that names part and key if the file is not in the right form.

    Ids that name a video instead of a segment are numbered: VIDEO#1, VIDEO#2. The id of a segment may occur twice.
    """
    content = read_pickle(path)
    if foreign := dialect_of(content):
        keys = ", ".join(foreign.keys)
        raise UserError(f"'{path}' has the format of {foreign.name} ({keys}), not of MultiBench. {foreign.remedy}")
    if not isinstance(content, dict) or not all(isinstance(content.get(name), dict) for name in PARTS):
        held = in_line(", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__)
        raise UserError(f"'{path}' holds {held[:200]}. Expected a dict of {FORM}. Use MultiBench's pickle.")
    seen: dict[str, int] = {}
    return [sample for name in PARTS for sample in _samples(path, name, content[name], seen)]


@opened_once
def samples_by_id(path: Path) -> dict[str, Sample]:
    """Id -> the first sample with this id."""
    return {sample.id: sample for sample in reversed(read_multibench(path))}


def _samples(path: Path, name: str, content: Mapping[str, object], seen: dict[str, int]) -> list[Sample]:
    values = {m: _features(path, name, key, content) for m, key in KEYS.items()}
    ids = _ids(path, name, content)
    scores = _scores(path, name, content)
    counts = {**{m: len(x) for m, x in values.items()}, "labels": len(scores), "id": len(ids)}
    if len(set(counts.values())) > 1:
        raise UserError(f"'{path}': '{name}' has different numbers of samples: {counts}. {AGAIN}")
    if len({x.shape[1] for x in values.values()}) > 1:
        steps = {m: x.shape[1] for m, x in values.items()}
        raise UserError(
            f"'{path}': the modalities of '{name}' have different numbers of steps: {steps}. Use the aligned pickle."
        )
    return [
        Sample(*_identity(names, seen), PARTS[name], float(score), {m: x[row] for m, x in values.items()})
        for row, (names, score) in enumerate(zip(ids, scores, strict=True))
    ]


def _identity(names: list[str], seen: dict[str, int]) -> tuple[str, str]:
    """The id and the video of a sample. seen: video -> how often it was named without a segment."""
    if len(names) == 3:
        return f"{names[0]}[{names[1]}-{names[2]}]", names[0]
    segment = SEGMENT.fullmatch(names[0])
    if segment:
        return names[0], segment["any"] or segment["known"]
    seen[names[0]] = seen.get(names[0], 0) + 1
    return f"{names[0]}#{seen[names[0]]}", names[0]


def _get(path: Path, name: str, key: str, content: Mapping[str, object]) -> Array:
    if key not in content:
        raise UserError(f"'{path}': '{name}' has no '{key}' (it has {', '.join(map(str, content))}). Expected: {FORM}.")
    value = content[key]
    if isinstance(value, list) and key == "id":
        try:
            value = np.array(value)
        except ValueError as error:
            raise UserError(f"'{path}': 'id' of '{name}' is ragged ({error}). Needed: {IDS}.") from error
    if not isinstance(value, np.ndarray):
        raise UserError(f"'{path}': '{key}' of '{name}' is not an array but {type(value).__name__}. Expected: {FORM}.")
    return value


def _features(path: Path, name: str, key: str, content: Mapping[str, object]) -> Array:
    """(n, T, C) numbers"""
    x = _get(path, name, key, content)
    if x.dtype.kind not in "iuf" or x.ndim != 3:
        raise UserError(f"'{path}': '{key}' of '{name}' is {x.dtype} {x.shape}. Needed: numbers (n, T, C).")
    return x


def _scores(path: Path, name: str, content: Mapping[str, object]) -> Array:
    """(n,) numbers, the sentiment of each sample."""
    y = _get(path, name, "labels", content)
    if y.dtype.kind not in "iuf" or y.ndim == 0 or y.size != len(y):
        raise UserError(f"'{path}': 'labels' of '{name}' are {y.dtype} {y.shape}. Needed: one score each, (n, 1, 1).")
    return y.reshape(-1)


def _ids(path: Path, name: str, content: Mapping[str, object]) -> list[list[str]]:
    """The names of each sample: [segment] or [video, start, end]."""
    ids = _get(path, name, "id", content)
    if ids.dtype.kind not in "SUO" or ids.ndim == 0 or ids.size not in (len(ids), 3 * len(ids)):
        raise UserError(f"'{path}': 'id' of '{name}' is {ids.dtype} {ids.shape}. Needed: {IDS}.")
    rows = ids.reshape(len(ids), -1 if len(ids) else 1).tolist()
    try:
        return [[_text(x) for x in row] for row in rows]
    except ValueError as error:
        raise UserError(f"'{path}': 'id' of '{name}' is not text ({error}). {AGAIN}") from error


def _text(x: object) -> str:
    """An id as text; ValueError if it cannot be written as UTF-8, as bytes of another encoding and lone surrogates."""
    return (x if isinstance(x, bytes) else str(x).encode()).decode()
