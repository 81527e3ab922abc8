"""Lists of values, as JSON and files of torch hold them -> arrays; None is NaN among numbers and '' among texts."""

from collections.abc import Sequence

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.inputs.sizes import excess
from mcr_bench.bench.errors import UserError

CHARACTER, TEXT = 4, 64  # bytes of a character in an array of texts; of a text that Python holds
NUMBERS: set[type] = {bool, int, float}
PAD = (
    "Pad them to one length, and name the array of real steps as `length` in dataset.toml; mcr_bench.to_arrays does "
    "both."
)


def array_of(where: str, values: Sequence[object]) -> Array:
    """(N, ...) numbers or (N,) text of N values: numbers, texts, or lists of numbers that have one length.

    where: the file and key, for messages. UserError for values of several types, and lists of several lengths.

    >>> array_of("", [1, None]).tolist(), array_of("", ["a", None]).tolist()
    ([1.0, nan], ['a', ''])
    """
    kinds = {type(value) for value in values if value is not None}
    if kinds <= NUMBERS:
        return _numbers(values, kinds)
    if kinds == {str}:
        return array_of_texts(where, ["" if value is None else str(value) for value in values])
    if kinds == {list}:
        return _stacked(where, values)
    raise UserError(
        f"{where} holds values of type {', '.join(sorted(kind.__name__ for kind in kinds))}; allowed: numbers, texts, "
        "or lists of numbers of one length, for all samples alike. Save it as one of these."
    )


def array_of_texts(where: str, texts: Sequence[str]) -> Array:
    """(N,) text; one long text among many takes its length for each of them, so that is asked first.

    where: the file and key, for messages. UserError for more than a file may take.
    """
    longest = max(map(len, texts), default=0)
    if reason := excess(len(texts) * (CHARACTER * longest + TEXT)):
        raise UserError(f"{where} {reason}. Nothing of it was used.")
    return np.array(texts, dtype=str)


def _numbers(values: Sequence[object], kinds: set[type]) -> Array:
    if None not in values and len(kinds) == 1 and float not in kinds:
        exact = np.array(values)
        return exact if exact.dtype.kind in "bi" else exact.astype(np.float64)
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _stacked(where: str, values: Sequence[object]) -> Array:
    first = next(value for value in values if value is not None)
    lengths = [len(value) for value in values if isinstance(value, list)]
    one_length(where, lengths)
    try:
        blank = np.full(np.shape(np.array(first)), np.nan).tolist() if None in values else None
        stacked = np.array([blank if value is None else value for value in values])
    except ValueError as error:
        raise ragged(where) from error
    if stacked.dtype.kind not in "biuf":
        raise UserError(f"{where} holds lists of other things than numbers. Save lists of numbers.")
    return stacked


def one_length(where: str, lengths: Sequence[int]) -> None:
    """UserError unless all lists have one length."""
    for row, length in enumerate(lengths):
        if length != lengths[0]:
            raise UserError(f"{where} has {lengths[0]} values in its first list and {length} in list {row}. {PAD}")


def ragged(where: str) -> UserError:
    """The error for lists whose inner lists differ in length."""
    return UserError(f"{where} holds lists whose inner lists differ in length. {PAD}")
