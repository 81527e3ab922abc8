"""Pickles in the form of MultiBench: train, valid and test of text, audio, vision, labels and id.

Samples are padded with zeros in front. The labels are one number for each sample, or pairs of which one is 1, as those
of IEMOCAP: a pair for each label. A file with pairs may lack ids.
"""

import re
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.sequences.segment import PARTS, Content, Sample, features, names, require_equal, value_of

# VIDEO[k], VIDEO$_$k or VIDEO_k; the last only for the names of YouTube and Vimeo, because other names may end in _k.
SEGMENT = re.compile(r"(?P<any>.+)(?:\[\d+\]|\$_\$\d+)|(?P<known>[\w-]{11}|\d+)_\d+")
FORM = "train, valid, test, each with text, audio, vision (n, T, C), labels (n, 1, 1), id (n,) or (n, 3)"


def samples_of(path: Path, content: Content) -> list[Sample]:
    """The samples in the order of the file; UserError that names part and key if the file is not in the right form.

    Ids that name a video instead of a segment are numbered: VIDEO#1, VIDEO#2. The id of a segment may occur twice.
    """
    seen: dict[str, int] = {}
    samples = []
    for name in PARTS:
        part = content[name]
        assert isinstance(part, dict)
        samples += _samples(path, name, part, seen)
    return samples


def identity(names_: list[str], seen: dict[str, int]) -> tuple[str, str]:
    """The id and the video of a sample. seen: video -> how often it was named without a segment; it is updated.

    >>> identity(["x266rUJQC_8[5]"], {}), identity(["x266rUJQC_8"], {"x266rUJQC_8": 1})
    (('x266rUJQC_8[5]', 'x266rUJQC_8'), ('x266rUJQC_8#2', 'x266rUJQC_8'))
    """
    if len(names_) == 3:
        return f"{names_[0]}[{names_[1]}-{names_[2]}]", names_[0]
    segment = SEGMENT.fullmatch(names_[0])
    if segment:
        return names_[0], segment["any"] or segment["known"]
    seen[names_[0]] = seen.get(names_[0], 0) + 1
    return f"{names_[0]}#{seen[names_[0]]}", names_[0]


def _samples(path: Path, name: str, content: Content, seen: dict[str, int]) -> list[Sample]:
    values = features(path, name, content, FORM)
    labels = _labels(path, name, content)
    several = labels.shape[1] > 1
    ids = [[f"{name}-{row}"] for row in range(len(labels))] if several and "id" not in content else None
    ids = ids or names(path, name, content, FORM)
    require_equal(path, name, {**{m: len(x) for m, x in values.items()}, "labels": len(labels), "id": len(ids)})
    if len({x.shape[1] for x in values.values()}) > 1:
        steps = {m: x.shape[1] for m, x in values.items()}
        raise UserError(
            f"'{path}': the modalities of '{name}' have different numbers of steps: {steps}. Use the aligned pickle."
        )
    return [
        Sample(*identity(of, seen), PARTS[name], tuple(label), {m: x[row] for m, x in values.items()}, of[0])
        for row, (of, label) in enumerate(zip(ids, labels.tolist(), strict=True))
    ]


def _labels(path: Path, name: str, content: Content) -> Array:
    """(n, L) numbers: the one number of each sample, or which of its L pairs has the second place."""
    y = value_of(path, name, "labels", content, FORM)
    if y.dtype.kind in "iuf" and y.ndim == 3 and y.shape[2] == 2 and _are_pairs(y):
        return np.asarray(y.argmax(2))
    if y.dtype.kind not in "iuf" or y.ndim == 0 or y.size != len(y):
        raise UserError(f"'{path}': 'labels' of '{name}' are {y.dtype} {y.shape}. Needed: one score each, (n, 1, 1).")
    return y.reshape(-1, 1)


def _are_pairs(y: Array) -> bool:
    """Whether of each of the pairs (n, L, 2) one is 1 and the other 0."""
    return bool(np.isin(y, (0, 1)).all() and (y.sum(2) == 1).all())
