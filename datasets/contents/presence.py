"""Which samples of an array file have a modality: `present_<modality>` (N,), beside `x_<modality>`."""

from collections.abc import Mapping
from functools import reduce
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.contents.words import rows_in_words


def read_presence(path: Path, arrays: Mapping[str, Array], modalities: list[str], ids: list[str]) -> dict[str, Array]:
    """Modality -> (N,) bool, of those that some samples lack; UserError for other values than bool, 0 and 1.

    A sample without any modality is an error: nothing can be learned of it or predicted from it.
    """
    keys = {m: f"present_{m}" for m in modalities}
    present = {m: _flags(path, key, arrays[key]) for m, key in keys.items() if key in arrays}
    if len(present) == len(modalities):
        _check_samples(path, reduce(np.logical_or, present.values()), ids)
    for m, has in present.items():
        if not has.any():
            raise UserError(
                f"'{path}': 'present_{m}' is 0 for every sample: none has '{m}'. Leave 'x_{m}' and 'present_{m}' out "
                "of the file."
            )
    return {m: has for m, has in present.items() if not has.all()}


def require_trained(path: Path, present: Mapping[str, Array], part: Array) -> None:
    """UserError for a modality that no training sample has: nothing can be learned of it. part: (N,) text."""
    train = part == "train"
    for m, has in present.items():
        if train.any() and not has[train].any():
            raise UserError(
                f"'{path}': no training sample has '{m}': 'present_{m}' is 0 for all {int(train.sum()):,} samples that "
                f"'split' has in train. Put samples that have it into train, or leave 'x_{m}' and 'present_{m}' out of "
                "the file."
            )


def _flags(path: Path, key: str, array: Array) -> Array:
    if array.dtype.kind not in "biuf":
        raise UserError(f"'{path}': '{key}' has dtype {array.dtype}. {_allowed(key)}")
    wrong = ~np.isin(array, (0, 1))
    if wrong.any():
        raise UserError(f"'{path}': '{key}' is {array[wrong][0]} at {rows_in_words(wrong)}. {_allowed(key)}")
    return array.astype(bool)


def _allowed(key: str) -> str:
    return f"Save '{key}' (N,) as bool, or as 1 where the sample has the modality and 0 where it lacks it."


def _check_samples(path: Path, some: Array, ids: list[str]) -> None:
    if not some.all():
        raise UserError(
            f"'{path}': no modality is present at {rows_in_words(~some)} (id '{ids[int(np.argmin(some))]}'). Leave "
            "these samples out of the file, or correct the arrays 'present_<modality>'."
        )


def lacked_notes(present: Mapping[str, Array]) -> tuple[str, ...]:
    """A sentence for each modality that some samples lack.

    >>> lacked_notes({"audio": np.array([True, False, True])})
    ("'audio' is missing from 1 of 3 samples (present_audio): its mean training input takes its place",)
    """
    return tuple(
        f"'{m}' is missing from {int((~has).sum()):,} of {len(has):,} samples (present_{m}): its mean training input "
        "takes its place"
        for m, has in present.items()
    )
