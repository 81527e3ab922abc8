"""Samples of datasets of PyTorch and Hugging Face: dicts and tuples, and their values as arrays."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.folders.lists import padded

LABELS = ("y", "label", "labels", "target", "targets")
NAME = re.compile(r"[A-Za-z0-9_-]+")


def samples_of(dataset: Any) -> Iterator[object]:
    """The samples of a dataset in its order; one with a length is asked by number, as many raise no IndexError."""
    if hasattr(type(dataset), "__iter__") or not hasattr(type(dataset), "__len__"):
        return iter(dataset)
    return (dataset[number] for number in range(len(dataset)))


def named_values(sample: object, names: Sequence[str] | None) -> dict[str, object]:
    """The values of a sample by name; entries of a tuple are `names`, or m1, m2, ..., and the last one label.

    ((a, b), label) and ({"voice": a}, label) are read as (a, b, label) and {"voice": a, "label": label}. UserError for
    other samples, and names that do not fit.

    >>> named_values(([1], [2], 0), None)
    {'m1': [1], 'm2': [2], 'label': 0}
    """
    if isinstance(sample, Mapping):
        return {str(key): value for key, value in sample.items()}
    if not isinstance(sample, tuple | list) or len(sample) < 2:
        raise UserError(
            f"a sample is of type {type(sample).__name__}; allowed: a dict, or a tuple of one input or "
            "more and a label. Wrap the dataset in one that gives these."
        )
    first, *rest = sample
    if isinstance(first, Mapping) and len(rest) == 1:
        return {**{str(key): value for key, value in first.items()}, LABELS[1]: rest[0]}
    values = [*first, *rest] if isinstance(first, tuple | list) and len(rest) == 1 else [first, *rest]
    called = list(names) if names else [*(f"m{number}" for number in range(1, len(values))), LABELS[1]]
    if len(called) != len(values):
        raise UserError(f"names={called}: a sample has {len(values)} entries. Give one name for each, the label too.")
    return dict(zip(called, values, strict=True))


def array_of_value(key: str, value: Any) -> Array:
    """The value of one sample as an array of numbers, or of one text; an image of Pillow as (C, H, W)."""
    if hasattr(value, "getbands"):  # an image of Pillow, which is not needed for anything else
        plain = np.asarray(value if value.mode in ("L", "RGB") else value.convert("RGB"))
        return plain[None] if plain.ndim == 2 else np.moveaxis(plain, -1, 0)
    if isinstance(value, torch.Tensor):
        whole = value.detach().cpu()
        return np.asarray((whole.float() if whole.dtype == torch.bfloat16 else whole).numpy())
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind not in "biufU":
        raise UserError(
            f"'{key}' of a sample is of type {type(value).__name__}; allowed: numbers, tensors, arrays, lists of them, "
            "and images. Make numbers of it in the dataset, or leave it out: modalities=[...]."
        )
    return array


def stacked(key: str, values: Sequence[Array]) -> tuple[Array, Array | None]:
    """(N, ...) of N arrays, and the lengths (N,) of those that are padded, as `padded` does it."""
    if len({value.shape for value in values}) == 1:
        return np.stack(values), None
    whole = padded(f"'{key}'", values)
    return whole.array, whole.lengths
