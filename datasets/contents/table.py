"""One .npz of samples in array form, read and checked: what `arrays` and the prepared datasets share.

Keys: `x_<modality>` (N, ...), `y` (N,) or (N, L), `split` (N,) of train/val/test; optional `length_<modality>` (N,) for
padded sequences (N, T, C), and for ids of words, whole numbers (N, T), `present_<modality>` (N,) for modalities that
some samples lack, `group` (N,), `id` (N,), `class_names` (C,).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.task import Task
from mcr_bench.datasets.base import Facts, Modality, Split, Splits, standardise, target_of
from mcr_bench.datasets.contents.key_hints import dtype_hint, rename_hint
from mcr_bench.datasets.contents.label_axes import check_axes
from mcr_bench.datasets.contents.labels import read_labels
from mcr_bench.datasets.contents.presence import lacked_notes, read_presence, require_trained
from mcr_bench.datasets.contents.split_names import PARTS, missing_split, read_parts
from mcr_bench.datasets.contents.word_ids import holds_ids, ids_notes, read_ids, vocabulary
from mcr_bench.datasets.contents.words import MISSING, as_text, rows_in_words
from mcr_bench.datasets.formats.npz import read_arrays

LAYOUT = (
    "x_<modality> (N, ...), y (N,) or (N, L), split (N,); optional length_<modality>, present_<modality>, group, "
    "id (N,), class_names (C,)"
)
BESIDE = ("length", "present")  # kinds of arrays beside x_<modality>


@dataclass
class Table:
    """N checked samples of a file.

    path: the file.
    values: modality -> (N, ...) float32; (N, T, 1) int64 of ids of words.
    target: (N,) class indices (int64) or scores (float64); or (N, L) labels, 0 or 1 (int64), or scores (float64).
    part: (N,) text, the part of each sample: train, val or test.
    ids: the N ids, unique.
    groups: the N groups, or None if the file has none.
    lengths: modality -> (N,) int64, the real steps of padded sequences.
    class_names: the names of the classes or labels; empty if they are unknown.
    notes: sentences about how the file was interpreted.
    present: modality -> (N,) bool, whether each sample has it; only modalities that some samples lack.
    """

    path: Path
    values: dict[str, Array]
    target: Array
    part: Array
    ids: list[str]
    groups: list[str] | None = None
    lengths: dict[str, Array] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    present: dict[str, Array] = field(default_factory=dict)

    def facts(self) -> Facts:
        """The modalities, the task, and notes on how the file was interpreted."""
        shapes = {
            m: Modality(tuple(x.shape[1:]), m in self.lengths, m in self.present, vocabulary(x))
            for m, x in self.values.items()
        }
        several = self.target.shape[1] if self.target.ndim > 1 else None
        if self.target.dtype.kind == "f":
            return Facts(shapes, Task(None, scores=several), notes=self.notes)
        task = Task(None, labels=several) if several else Task(len(self.classes))
        return Facts(shapes, task, self.classes, self.notes)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes or labels, or else their numbers; empty for regression."""
        if self.target.dtype.kind == "f":
            return ()
        count = self.target.shape[1] if self.target.ndim > 1 else int(self.target.max()) + 1
        return self.class_names or tuple(str(c) for c in range(count))

    def absent(self, part: Array) -> list[str]:
        """The names of the classes or labels without a training sample. part: (N,) text, the part of each sample."""
        train = self.target[part == "train"]
        trained = set((np.flatnonzero(train.any(0)) if train.ndim > 1 else train).tolist())
        return [name for c, name in enumerate(self.classes) if c not in trained]

    def labels(self, part: Array) -> dict[str, Array]:
        """Part -> its targets, as in `target`."""
        return {name: self.target[part == name] for name in PARTS}

    def splits(self, part: Array, modalities: tuple[str, ...]) -> Splits:
        """The standardised parts with these modalities, in the order of the file.

        part: (N,) text, the part of each sample: train, val, test, or anything else if it is unused.
        """
        return standardise(self.unscaled(part, modalities))

    def unscaled(self, part: Array, modalities: tuple[str, ...]) -> Splits:
        """As `splits`, but with the values of the file. part: (N,) text; a part may be empty.

        UserError for an unknown modality.
        """
        for m in modalities:
            if m not in self.values:
                raise unknown("modality", m, self.values)
        train, val, test = (self._split(np.flatnonzero(part == p), modalities) for p in PARTS)
        return Splits(train, val, test)

    def _split(self, rows: Array, modalities: tuple[str, ...]) -> Split:
        target, scores = target_of(self.target[rows])
        return Split(
            {m: torch.from_numpy(x[rows]) for m, x in self.values.items() if m in modalities},
            target,
            [self.ids[i] for i in rows],
            [self.groups[i] for i in rows] if self.groups else None,
            {m: torch.from_numpy(n[rows]) for m, n in self.lengths.items() if m in modalities},
            scores,
            {m: torch.from_numpy(has[rows]) for m, has in self.present.items() if m in modalities},
        )

    def having(self, modality: str, rows: Array) -> Array:
        """Of rows (N, ...), one per sample, those of samples that have the modality."""
        return rows[self.present[modality]] if modality in self.present else rows


def read_table(path: Path, allow_group_overlap: bool = False, task: str = "auto") -> Table:
    """The checked content of one .npz; UserError that names the file, the key, the first wrong rows and the remedy.

    allow_group_overlap: accept a group that is in two parts.
    task: what `y` holds: classification, regression, multi-label, sentiment, or auto (see `read_labels`).
    """
    return table_of(path, read_arrays(path), allow_group_overlap, task)


def table_of(path: Path, arrays: Mapping[str, Array], allow_group_overlap: bool = False, task: str = "auto") -> Table:
    """The same of arrays that have been read, by the keys that they have in an .npz. path: for messages."""
    _check_keys(path, arrays, task)
    names = tuple(str(n) for n in as_text(arrays["class_names"])) if "class_names" in arrays else ()
    _check_names(path, names)
    labels = read_labels(path, arrays["y"], names, task)
    ids = _ids(path, arrays)
    present = read_presence(path, arrays, _modalities(arrays), ids)
    lengths = {m: _lengths(path, arrays, m, present.get(m)) for m in _modalities(arrays) if f"length_{m}" in arrays}
    values = {m: _values(path, arrays, m, lengths.get(m), ids, present.get(m)) for m in _modalities(arrays)}
    part, part_notes = read_parts(path, arrays["split"])
    require_trained(path, present, part)
    groups = [str(g) for g in _texts(path, "group", arrays["group"])] if "group" in arrays else None
    if groups and not allow_group_overlap:
        _check_groups(path, groups, part)
    notes = (*labels.notes, *part_notes, *lacked_notes(present), *ids_notes(values, part))
    return Table(path, values, labels.target, part, ids, groups, lengths, labels.names, notes, present)


def _modalities(arrays: Mapping[str, Array]) -> list[str]:
    return [key.removeprefix("x_") for key in arrays if key.startswith("x_")]


def _missing(path: Path, what: str, arrays: Mapping[str, Array], hint: str) -> UserError:
    keys = ", ".join(arrays) or "nothing"
    return UserError(f"'{path}' has no {what} (it has {keys}). Expected: {LAYOUT}.{hint}")


def _check_keys(path: Path, arrays: Mapping[str, Array], task: str) -> None:
    names = _modalities(arrays)
    if "y" not in arrays:
        raise _missing(path, "'y'", arrays, rename_hint(tuple(arrays)))
    if "split" not in arrays:
        raise _missing(path, "'split'", arrays, missing_split(arrays))
    if not names:
        raise _missing(path, "'x_<modality>'", arrays, rename_hint(tuple(arrays)))
    for m in names:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", m) or hasattr(nn.ModuleDict, m):
            raise UserError(
                f"'{path}': '{m}' cannot name a modality. Rename 'x_{m}' (letters, digits, _, -; no torch attribute)."
            )
    allowed = {"y", "split", "group", "id", "class_names", *(f"{p}_{m}" for m in names for p in ("x", *BESIDE))}
    for key in arrays:
        if key not in allowed:
            raise UserError(f"'{path}': {unknown('key', key, allowed)} Rename it, or leave it out of the file.")
    check_axes(path, arrays["y"], task)
    count = len(arrays["y"])
    for key, array in arrays.items():
        if array.ndim == 0 or (key != "class_names" and len(array) != count):
            raise UserError(
                f"'{path}': '{key}' has shape {array.shape}, but 'y' has {count} rows. All need one row per sample."
            )
        if key != "y" and not key.startswith("x_") and array.ndim != 1:
            single = array.size == len(array)
            remedy = f"Save {key}.ravel()." if single else f"Save one value per row, such as {key}[:, 0]."
            raise UserError(f"'{path}': '{key}' has shape {array.shape}, expected one axis. {remedy}")


def _ids(path: Path, arrays: Mapping[str, Array]) -> list[str]:
    if "id" not in arrays:
        return [str(i) for i in range(len(arrays["y"]))]
    ids = _texts(path, "id", arrays["id"])
    _, first, counts = np.unique(ids, return_index=True, return_counts=True)
    if (counts > 1).any():
        twice = ids[first[counts > 1].min()]
        raise UserError(
            f"'{path}': id '{twice}' occurs more than once ({rows_in_words(ids == twice)}). Make ids unique."
        )
    return [str(i) for i in ids]


def _texts(path: Path, key: str, array: Array) -> Array:
    """(N,) text of ids or groups; UserError for one that is missing: those without a group are not one group."""
    texts = as_text(array)
    bad = np.isin(texts, MISSING)
    if bad.any():
        raise UserError(
            f"'{path}': '{key}' is missing ('{texts[bad][0]}') at {rows_in_words(bad)}. Give each of these samples "
            f"one, such as its row number, or leave '{key}' out."
        )
    return texts


def _check_names(path: Path, names: tuple[str, ...]) -> None:
    for at, name in enumerate(names):
        if name in names[:at]:
            raise UserError(
                f"'{path}': class_names has '{name}' at row {names.index(name)} and {at}, so it is not clear which "
                "class is meant. Make the names different (blanks around them do not count), or give the class one "
                "number in 'y'."
            )


def require_parts(part: Array, where: str, remedy: str) -> None:
    """UserError that names `where` and `remedy` unless train, val and test all have samples. part: (N,) text."""
    for name in PARTS:
        if not (part == name).any():
            raise UserError(f"{where}: the {name} split is empty. {remedy}")


def _check_groups(path: Path, groups: list[str], part: Array) -> None:
    first: dict[str, str] = {}
    for row, (group, name) in enumerate(zip(groups, part, strict=True)):
        if first.setdefault(group, str(name)) != name:
            raise UserError(
                f"'{path}': group '{group}' is in {first[group]} and (row {row}) in {name}: a leak. "
                "Keep a group in one split, or accept it with --allow-group-overlap (dataset.allow_group_overlap=true)."
            )


def _lengths(path: Path, arrays: Mapping[str, Array], modality: str, present: Array | None) -> Array:
    """(N,) int64; 1 where the modality is absent, whatever the file has there."""
    lengths, x = arrays[f"length_{modality}"], arrays[f"x_{modality}"]
    if lengths.dtype.kind not in "iu":
        raise UserError(
            f"'{path}': 'length_{modality}' holds {lengths.dtype}; needed: the number of real steps of each sample as "
            f"whole numbers. Save length_{modality}.astype(int)."
        )
    if x.ndim != 3 and not holds_ids(arrays, modality):
        ids = f" If these are ids of words, save x_{modality}.astype(int)." if x.ndim == 2 else ""
        raise UserError(
            f"'{path}': 'x_{modality}' holds {x.dtype} of shape {x.shape}, but beside 'length_{modality}' it has to be "
            f"padded sequences (N, T, C) of numbers, or ids of words (N, T) as whole numbers.{ids} If samples have no "
            f"steps, leave 'length_{modality}' out of the file."
        )
    if present is not None:
        lengths = np.where(present, lengths, 1)
    bad = (lengths < 1) | (lengths > x.shape[1])
    if bad.any():
        raise UserError(
            f"'{path}': 'length_{modality}' is {lengths[bad][0]} at {rows_in_words(bad)}; allowed: 1..{x.shape[1]}. "
            "Correct it, or leave these samples out of the file."
        )
    return lengths.astype(np.int64)


def _values(
    path: Path,
    arrays: Mapping[str, Array],
    modality: str,
    lengths: Array | None,
    ids: list[str],
    present: Array | None,
) -> Array:
    """(N, ...) float32, or ids of words (N, T, 1) int64.

    Padded steps, and samples that lack the modality, are 0 whatever values the file has there.
    """
    x = arrays[f"x_{modality}"]
    if 0 in x.shape:
        raise UserError(
            f"'{path}': 'x_{modality}' has shape {x.shape}, which holds no value. Save it with at least one value per "
            "sample, or leave it out of the file."
        )
    if x.dtype.kind not in "biuf" or x.ndim > 5:
        raise UserError(
            f"'{path}': 'x_{modality}' has dtype {x.dtype} and shape {x.shape}; "
            f"needed: numbers, (N, ...) with at most 5 axes.{dtype_hint(f'x_{modality}', x)}"
        )
    if lengths is not None and x.ndim == 2:
        return read_ids(path, modality, x, lengths, present)
    with np.errstate(over="ignore", invalid="ignore"):
        x = x.astype(np.float32)
    x = x[:, None] if x.ndim == 1 else x
    if lengths is not None:
        x[np.arange(x.shape[1]) >= lengths[:, None]] = 0
    if present is not None:
        x[~present] = 0
    _check_size(path, x, arrays[f"x_{modality}"], modality, ids)
    check_finite(path, x, modality, ids)
    return x


def _check_size(path: Path, x: Array, source: Array, modality: str, ids: list[str]) -> None:
    """UserError for numbers of the file that float32 does not have. x: (N, ...) float32 of `source`, as it is used."""
    bad = ~np.isfinite(x.reshape(len(x), -1))
    rows = np.flatnonzero(bad.any(axis=1))
    if not len(rows):
        return
    values = source[rows].reshape(len(rows), -1)
    large = bad[rows] & np.isfinite(values)
    if large.any():
        at = np.isin(np.arange(len(x)), rows[large.any(axis=1)])
        size = int(np.log10(np.abs(values[large]).max()))
        raise UserError(
            f"'{path}': 'x_{modality}' is {values[large][0]:.3g} at {rows_in_words(at)} (id "
            f"'{ids[int(np.argmax(at))]}'), too large for float32 (at most {np.finfo(np.float32).max:.2g}). Divide it, "
            f"such as x_{modality} / 1e{size}."
        )


def check_finite(path: Path, x: Array, modality: str, ids: list[str]) -> None:
    """UserError that names the modality, the first sample and the remedy if a feature is NaN or infinite.

    x: (N, ...) float; ids: the N ids.
    """
    finite = np.isfinite(x.reshape(len(x), -1))
    bad = ~finite.min(axis=1)
    if bad.any():
        empty = np.flatnonzero(~finite.max(axis=0)) if x.ndim == 2 else np.empty(0, np.int64)
        raise UserError(
            f"'{path}': 'x_{modality}' is NaN or infinite (float32) at {rows_in_words(bad)} "
            f"(id '{ids[int(np.argmax(bad))]}'). {_repair(empty)}"
        )


def _repair(empty: Array) -> str:
    """What to do about NaN. empty: the indices of columns that hold no finite number."""
    if not len(empty):
        return "Remove or repair these samples."
    more = f" and {len(empty) - 3} more" if len(empty) > 3 else ""
    return f"Leave out the columns that hold no number: column {', '.join(map(str, empty[:3]))}{more}."
