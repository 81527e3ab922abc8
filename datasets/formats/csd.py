"""Computational sequences of the CMU Multimodal SDK (.csd, HDF5): aligned features, and labels with their intervals."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.formats.hdf5 import check_stored
from mcr_bench.datasets.formats.npz import is_pointer, pointer_error
from mcr_bench.datasets.formats.opened import opened_once

if TYPE_CHECKING:
    import h5py

SEGMENT = re.compile(r"(.+)\[(\d+)\]")
CLOSE = 1e-3  # seconds: intervals are stored as float32, and a video may last some minutes
ALIGN = "Align it with the CMU Multimodal SDK first (to the words, then to the opinion labels), and deploy it again."


@dataclass(frozen=True)
class Sequence:
    """One open .csd file.

    path: the file.
    data: segment or video -> its features (T, C) and intervals (T, 2), as HDF5 datasets.
    """

    path: Path
    data: "h5py.Group"

    def features(self, name: str) -> Array:
        """(T, C) numbers, the features of one entry; UserError if they are not numbers or cannot be read."""
        return self._array(name, "features", None)

    def intervals(self, name: str) -> Array:
        """(T, 2) numbers, start and end of each step of one entry in seconds; UserError as for `features`."""
        return self._array(name, "intervals", 2)

    def channels(self) -> int:
        """The number of features per step of the first entry."""
        return int(self._stored(next(iter(self.data)), "features", None).shape[1])

    def steps(self, name: str) -> int | None:
        """The number of steps of the features of one entry, without reading them; None where `features` is an error."""
        try:
            return int(self._stored(name, "features", None).shape[0])
        except UserError:
            return None

    def _array(self, name: str, key: str, columns: int | None) -> Array:
        stored = self._stored(name, key, columns)
        check_stored(self.path, stored)
        try:
            return np.asarray(stored[()])
        except (OSError, RuntimeError, ValueError) as error:
            raise self._damaged(name, key, error) from error

    def _stored(self, name: str, key: str, columns: int | None) -> "h5py.Dataset":
        """The array on disk, checked but not yet read."""
        try:
            x = _inner(self.path, _inner(self.path, self.data, name), key)
            shape, kind, elsewhere = x.shape, x.dtype.kind, x.external or x.is_virtual
        except (OSError, KeyError, AttributeError, ValueError, RuntimeError) as error:
            raise self._damaged(name, key, error) from error
        if elsewhere:
            raise _outside(self.path, f"{name}/{key}")
        if len(shape) != 2 or kind not in "iuf" or columns not in (None, shape[1]):
            raise UserError(
                f"'{self.path}': '{key}' of '{name}' is {x.dtype} {shape}; needed: numbers (T, {columns or 'C'}). "
                "Export the sequence with the SDK again."
            )
        return x

    def _damaged(self, name: str, key: str, error: Exception) -> UserError:
        return UserError(
            f"'{self.path}': '{key}' of '{name}' cannot be read ({error}): the file is damaged. Copy it again."
        )


@opened_once
def open_csd(path: Path) -> Sequence:
    """The sequence in a file; UserError that names the file and the remedy if it is not one."""
    import h5py

    try:
        if is_pointer(path):
            raise pointer_error(path)
        file = h5py.File(path, "r")
        roots = [_inner(path, file, name) for name in file]
        data = [_inner(path, root, "data") for root in roots if isinstance(root, h5py.Group) and "data" in root]
    except (OSError, KeyError, RuntimeError) as error:
        raise UserError(f"'{path}' is not an HDF5 file, or it is truncated ({error}). Copy it again.") from error
    if len(data) != 1 or not isinstance(data[0], h5py.Group):
        raise UserError(
            f"'{path}' is not a computational sequence: it needs exactly one group NAME/data. Export it with the SDK."
        )
    return Sequence(path, data[0])


def _inner(path: Path, group: "h5py.Group", name: str) -> "h5py.Group":
    """The group or dataset `name` in a group; UserError for a link, which may lead to any file of the machine."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise _outside(path, f"{group.name}/{name}")
    return group[name]


def _outside(path: Path, name: str) -> UserError:
    return UserError(
        f"'{path}': '{name}' is a link or is stored in another file. Links are not followed. "
        "Export the sequence with all of its content in one file."
    )


@dataclass(frozen=True)
class Segment:
    """One labelled opinion in a video.

    name: VIDEO[k].
    video: the video that it is part of.
    score: the sentiment.
    interval: its start and end in seconds.
    """

    name: str
    video: str
    score: float
    interval: tuple[float, float]


def read_labels(labels: Sequence) -> list[Segment]:
    """Every labelled segment, from entries VIDEO[k], or from entries VIDEO with a row per segment as published.

    The score is the first column of the features; in MOSEI the emotions follow.
    """
    segments, known = [], set[str]()
    for name in labels.data:
        scores, spans = labels.features(name), labels.intervals(name)
        segment = SEGMENT.fullmatch(name)
        if not scores.shape[1] or len(scores) != len(spans) or (segment and len(scores) != 1):
            raise UserError(
                f"'{labels.path}': '{name}' has features {scores.shape} and intervals {spans.shape}; "
                "needed: one row per segment in both, and one row in an entry VIDEO[k]. Export the labels again."
            )
        for k, (row, span) in enumerate(zip(scores, spans, strict=True)):
            full, video = (name, segment[1]) if segment else (f"{name}[{k}]", name)
            if full in known:
                raise UserError(f"'{labels.path}': '{full}' has two labels. Export the labels again.")
            known.add(full)
            segments.append(Segment(full, video, float(row[0]), (float(span[0]), float(span[1]))))
    return segments


def require_aligned(files: Mapping[str, Sequence], segments: Iterable[Segment]) -> list[tuple[str, str]]:
    """(segment, reason) of the segments that some of the files lack.

    files: modality -> its sequence. UserError that names file and segment if the sequences are not aligned to the
    segments and to each other.
    """
    for file in files.values():
        for name in file.data:
            if not SEGMENT.fullmatch(name):
                raise UserError(f"'{file.path}' is not aligned: its entry '{name}' is not a segment VIDEO[k]. {ALIGN}")
    present = {m: set(file.data) for m, file in files.items()}
    everywhere = set.intersection(*present.values())
    if not everywhere:
        names = ", ".join(f"'{file.path}'" for file in files.values())
        raise UserError(f"{names} have no segment in common. {ALIGN}")
    labelled = {segment.name: segment.interval for segment in segments}
    stepped = []
    for name in sorted(everywhere):
        count = _require_equal(list(files.values()), name, labelled.get(name))
        steps = {file.steps(name) for file in files.values()}
        if len(steps) == 1 and not steps & {count, None}:  # where modalities differ, reading the segment tells it
            stepped.append((name, f"{steps.pop()} steps of features, but {count} intervals"))
    absent = {n: [m for m in files if n not in present[m]] for n in set.union(*present.values()) | labelled.keys()}
    problems = [(name, f"no {' and no '.join(lacking)}") for name, lacking in absent.items() if lacking]
    return sorted(problems + stepped + [(name, "no label") for name in everywhere - labelled.keys()])


def _require_equal(files: list[Sequence], name: str, interval: tuple[float, float] | None) -> int:
    """The number of intervals of a segment; UserError unless they are the same in all files, in the order of time.

    They also have to overlap the interval of its label.
    """
    first = files[0].intervals(name)
    for file in files:
        spans = first if file is files[0] else file.intervals(name)
        if not np.isfinite(spans).all() or (np.diff(spans[:, 0]) < -CLOSE).any():
            raise UserError(f"'{file.path}': the intervals of '{name}' are not numbers in the order of time. {ALIGN}")
        if spans.shape != first.shape or not (np.abs(spans - first) <= CLOSE).all():
            raise UserError(
                f"'{file.path}' is not aligned to '{files[0].path}': the intervals of '{name}' differ. {ALIGN}"
            )
    if interval and len(first) and (first[:, 1].max() < interval[0] or first[:, 0].min() > interval[1]):
        within = f"{interval[0]:g} to {interval[1]:g} s"
        raise UserError(f"'{files[0].path}': '{name}' lies outside the interval of its label, {within}. {ALIGN}")
    return len(first)
