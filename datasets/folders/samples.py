"""Samples of datasets of PyTorch and Hugging Face: dicts and tuples, and their values as arrays."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.folders.lists import padded
from mcr_bench.datasets.folders.torch_file import array_of_tensor

LABELS = ("y", "label", "labels", "target", "targets")
NAME = re.compile(r"[A-Za-z0-9_-]+")


def samples_of(dataset: Any) -> Iterator[object]:
    """The samples of a dataset in its order; one with a length is asked by number, as many raise no IndexError."""
    if isinstance(dataset, DataLoader):
        raise UserError("to_arrays: a DataLoader gives batches, not samples. Give its dataset: loader.dataset.")
    if not hasattr(type(dataset), "__iter__") and not hasattr(type(dataset), "__getitem__"):
        raise UserError(
            f"to_arrays: a dataset is of type {type(dataset).__name__}, which has no samples. Give one of PyTorch or "
            "Hugging Face, or a list of samples."
        )
    if hasattr(type(dataset), "__iter__") or not hasattr(type(dataset), "__len__"):
        return iter(dataset)
    return (dataset[number] for number in range(len(dataset)))


def named_values(sample: object, names: Sequence[str] | None) -> dict[str, object]:
    """The values of a sample by name; entries of a tuple are `names`, or m1, m2, ..., and the last one label.

    ((a, b), label) and ({"voice": a}, label) are read as (a, b, label) and {"voice": a, "label": label}, but
    ([0.5, 0.7], label) has one input, a list of numbers. UserError for other samples, and names that do not fit.

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
    values = [*first, *rest] if len(rest) == 1 and _are_inputs(first, names) else [first, *rest]
    called = list(names) if names else [*(f"m{number}" for number in range(1, len(values))), LABELS[1]]
    if len(called) != len(values):
        raise UserError(f"names={called}: a sample has {len(values)} entries. Give one name for each, the label too.")
    if len(set(called)) < len(called):
        raise UserError(f"names={called}: two are equal. Give each entry a name of its own.")
    return dict(zip(called, values, strict=True))


def _are_inputs(first: object, names: Sequence[str] | None) -> bool:
    """Whether the first of two entries is several inputs, rather than the numbers of one.

    It is where `names` has a name for each, and where not all are numbers.
    """
    if not isinstance(first, tuple | list):
        return False
    if names and len(names) == len(first) + 1:
        return True
    return not all(isinstance(one, int | float | np.number) for one in first)


def array_of_value(key: str, value: Any) -> Array:
    """The value of one sample as an array of numbers, or of one text; an image of Pillow as (C, H, W).

    Images of more than 8 bits (modes I, F) keep their numbers, which Pillow would cut off at 255.
    """
    if hasattr(value, "getbands"):  # an image of Pillow, which is not needed for anything else
        plain = np.asarray(value if value.mode in ("L", "RGB") or value.mode[0] in "IF" else value.convert("RGB"))
        return plain[None] if plain.ndim == 2 else np.moveaxis(plain, -1, 0)
    if isinstance(value, torch.Tensor):
        return array_of_tensor(f"'{key}' of a sample", value)
    if isinstance(value, list | tuple):
        value = [array_of_value(key, one) if isinstance(one, torch.Tensor) else one for one in value]
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
