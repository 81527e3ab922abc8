"""Columns of Arrow -> arrays: numbers, texts, and lists of numbers; nothing is guessed."""

from typing import TYPE_CHECKING

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.folders.lists import Padded, array_of_texts, ragged, stacked

if TYPE_CHECKING:
    import pyarrow as pa


def array_of_column(where: str, column: "pa.ChunkedArray") -> Array | Padded:
    """(N, ...) numbers, NaN where a number or list is missing; or (N,) text, '' where it is missing.

    Lists of several lengths are padded, and one that is missing among them has no steps. where: the file and column,
    for messages. UserError for other types, and for lists of several widths.
    """
    import pyarrow as pa

    kind = _plain(column.type)
    if str(kind) == "string_view":  # not in every version of Arrow
        column, kind = column.cast(pa.large_string()), pa.large_string()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _texts(where, column)
    if not _holds_numbers(kind):
        raise UserError(
            f"{where} holds {column.type}; allowed: numbers, texts, or lists of numbers. Save it as one of these; "
            "mcr_bench.to_arrays reads the samples of a dataset of PyTorch or Hugging Face."
        )
    if _is_list(kind) and _differ_in_length(column):
        return stacked(where, [row for chunk in column.chunks for row in _rows(where, chunk)])
    return _joined(where, [_numbers(where, chunk) for chunk in column.chunks if len(chunk)])


def _joined(where: str, pieces: list[Array]) -> Array:
    """The rows of all chunks; a chunk in which every list is missing does not know how long they are."""
    known = {piece.shape[1:] for piece in pieces if piece.size}
    if len(known) > 1:
        raise ragged(where)
    shape = next(iter(known), pieces[0].shape[1:] if pieces else ())
    whole = [piece if piece.shape[1:] == shape else np.full((len(piece), *shape), np.nan) for piece in pieces]
    return np.concatenate(whole) if whole else np.empty(0)


def _plain(kind: "pa.DataType") -> "pa.DataType":
    """The type of the values that a dictionary encodes, or the type itself."""
    import pyarrow as pa

    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_list(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _holds_numbers(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    while _is_list(kind):
        kind = kind.value_type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _texts(where: str, column: "pa.ChunkedArray") -> Array:
    """(N,) text of a column that may be encoded by a dictionary, whose texts may be few and long."""
    import pyarrow as pa

    plain = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    texts = [text for chunk in plain.chunks for text in _shared(chunk)]
    return array_of_texts(where, texts)


def _shared(chunk: "pa.DictionaryArray") -> list[str]:
    """The texts of a chunk, equal ones as one object, '' where one is missing."""
    known = [*("" if text is None else text for text in chunk.dictionary.to_pylist()), ""]
    return [known[-1 if at is None else at] for at in chunk.indices.to_pylist()]


def _differ_in_length(column: "pa.ChunkedArray") -> bool:
    """Whether lists have several lengths; those of one are read as a whole, which is much faster."""
    return len({n for chunk in column.chunks for n in np.unique(_lists(chunk).drop_null().value_lengths())}) > 1


def _rows(where: str, chunk: "pa.Array") -> list[Array | None]:
    """The numbers of each list of a chunk, None for a list that is missing."""
    plain = _lists(chunk)
    lists = plain.drop_null()
    inner = _numbers(where, lists.flatten())
    ends = np.cumsum(np.asarray(lists.value_lengths()))
    given = iter(np.split(inner, ends[:-1]))
    return [next(given) if valid else None for valid in plain.is_valid().to_pylist()]


def _lists(chunk: "pa.Array") -> "pa.Array":
    """Lists of a stated length as those of any."""
    import pyarrow as pa

    plain = chunk.dictionary_decode() if pa.types.is_dictionary(chunk.type) else chunk
    return plain.cast(pa.list_(plain.type.value_type)) if pa.types.is_fixed_size_list(plain.type) else plain


def _numbers(where: str, chunk: "pa.Array") -> Array:
    """(n, ...) of a chunk of numbers, or of lists that have one length, nested to any depth."""
    import pyarrow as pa

    if pa.types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_decode()
    if not _is_list(chunk.type):
        flat: Array = chunk.to_numpy(zero_copy_only=False)
        return flat if flat.dtype.kind in "biuf" else flat.astype(np.float64)  # truth values with gaps
    lists = _lists(chunk).drop_null()
    lengths = np.asarray(lists.value_lengths())
    if len(lengths) and lengths.min() != lengths.max():
        raise ragged(where)
    inner = _numbers(where, lists.flatten())
    rows = inner.reshape(len(lists), int(lengths[0]) if len(lists) else 0, *inner.shape[1:])
    if not chunk.null_count:
        return rows
    padded = np.full((len(chunk), *rows.shape[1:]), np.nan)
    padded[np.asarray(chunk.is_valid())] = rows
    return padded
