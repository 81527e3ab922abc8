"""The functions that pickled numpy arrays call, for the reader of pickles: they check arguments and copy no content."""

import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcr_bench.bench.core.arrays import Array

SCALARS = (str, bytes, int, float, type(None), np.generic)
DTYPE = re.compile(r"[<>|=]?[biufcSUO?]\d*")  # no records, no dates
NAMES = {
    **{f"numpy.{core}.multiarray _reconstruct": "reconstruct" for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray scalar": "scalar" for core in ("core", "_core")},
    **{f"numpy.{core}.numeric _frombuffer": "frombuffer" for core in ("core", "_core")},
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",
    **{f"{home} {name}": name for home in ("builtins", "__builtin__") for name in ("set", "frozenset", "bytes")},
}


@dataclass(frozen=True)
class Name:
    """An allowed name on the stack: only a symbol, not the function itself.

    kind: the function that it stands for, a key of `CALLS`.
    """

    kind: str


@dataclass
class Type:
    """A dtype whose byte order follows later in the pickle.

    dtype: the dtype.
    """

    dtype: "np.dtype[Any]"


class Blank:
    """An array whose shape and content follow later in the pickle."""


def keys(values: Iterable[Any]) -> list[Any]:
    """The keys of a dict or members of a set; only scalars, because hashing deep tuples can exhaust the C stack.

    >>> keys(["train", 3])
    ['train', 3]
    """
    scalars = list(values)
    if not all(isinstance(key, SCALARS) for key in scalars):
        raise ValueError("a key that is not a scalar")
    return scalars


def in_order(type_: Type, state: tuple[Any, ...]) -> "np.dtype[Any]":
    """The dtype in the byte order of its state (version, order, subarray, names, fields, size, alignment, flags)."""
    _, order, *record = state[:5]
    if order not in ("<", ">", "|", "=") or record != [None] * 3 or any(state[8:]):
        raise ValueError("a dtype of records or with metadata")
    return type_.dtype.newbyteorder(order) if order in "<>" else type_.dtype


def array(shape: object, type_: object, fortran: object, content: object) -> Array:
    """An array with this shape, dtype and content; a view of the content, unless the dtype is object.

    fortran: whether the content is in the order of Fortran. content: bytes; a list of scalars if the dtype is object.
    """
    if not isinstance(type_, Type) or type(shape) is not tuple or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError("an array without shape or dtype")
    dtype, count = type_.dtype, math.prod(shape)
    flat = _objects(content, count) if dtype.hasobject else _numbers(content, count, dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


def _numbers(content: object, count: int, dtype: "np.dtype[Any]") -> Array:
    """(count,) of a dtype other than object: numbers, text or bytes."""
    data = _bytes(content)
    if not dtype.itemsize or len(data) != count * dtype.itemsize:
        raise ValueError(f"{len(data)} bytes for {count} values of {dtype}")
    if not count:
        return np.empty(0, dtype)
    if dtype.kind == "U" and (np.frombuffer(data, f"{dtype.byteorder}u4") > sys.maxunicode).any():
        raise ValueError("text with characters that do not exist")
    return np.frombuffer(data, dtype)


class OfObjects(ValueError):
    """An array of objects, whose elements are other things than text and numbers."""


def _objects(content: object, count: int) -> Array:
    """(count,) of dtype object."""
    if type(content) is not list or len(content) != count:
        raise ValueError("an object array without its elements")
    if not all(isinstance(x, SCALARS) for x in content):
        raise OfObjects("an object array of other things than text and numbers")
    objects = np.empty(count, object)
    objects[:] = content
    return objects


def _bytes(content: object) -> bytes | memoryview:
    """The content of an array. Python 2 wrote it as a string, which cannot be distinguished from text."""
    if isinstance(content, str):
        return content.encode("latin-1")
    if not isinstance(content, bytes | memoryview):
        raise ValueError("content that is not bytes")
    return content


def _blank(kind: object, *_: object) -> Blank:
    if kind != Name("ndarray"):
        raise ValueError("an array of another class")
    return Blank()


def _dtype(code: object, *_: object) -> Type:
    if not isinstance(code, str):
        raise ValueError(f"a dtype named by a {type(code).__name__}")
    if not DTYPE.fullmatch(code):
        raise ValueError(f"dtype {code[:80]}")
    return Type(np.dtype(code))


def _scalar(type_: object, content: object) -> Any:
    if isinstance(type_, Type) and type_.dtype.hasobject:
        raise ValueError("a scalar of dtype object")
    return array((1,), type_, False, content)[0]


def _from_buffer(content: object, type_: object, shape: object, order: object) -> Array:
    if isinstance(type_, Type) and type_.dtype.hasobject:
        raise ValueError("a buffer of dtype object")
    return array(shape, type_, order == "F", content)


def _encode(text: object, encoding: object) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes in another encoding than latin1")
    return text.encode("latin-1")


def _empty_bytes() -> bytes:
    """Python 3 pickles b"" as a call of `bytes` in protocols 0 to 2."""
    return b""


def _members(values: object = ()) -> list[Any]:
    if not isinstance(values, list | tuple):
        raise ValueError("members that are not a list")
    return keys(values)


CALLS: Mapping[str, Callable[..., Any]] = {
    "reconstruct": _blank,
    "scalar": _scalar,
    "frombuffer": _from_buffer,
    "dtype": _dtype,
    "encode": _encode,
    "bytes": _empty_bytes,
    "set": lambda *values: set(_members(*values)),
    "frozenset": lambda *values: frozenset(_members(*values)),
}
