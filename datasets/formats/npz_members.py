"""What arrays of .npz and .npy files say of themselves before they are read: shape, dtype, and the memory they take."""

import math
import sys
import zipfile
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from mcr_bench.bench.core.arrays import Array

LONGEST = 2**63 - 1  # the longest axis that an array can have
MOST_HEADER = 10_000  # bytes of a header: NumPy reads no longer ones
NUMBER, TEXT = 4, 64  # bytes: numbers become float32 or more, a text an object of Python's beside its characters


class NotAnArray(Exception):
    """A member that is not an array of NumPy."""


class LongHeader(Exception):
    """A header that NumPy does not read; the text says how long it is, and the remedy."""


class OfObjects(Exception):
    """An array of Python objects, which would have to be unpickled."""


@dataclass(frozen=True)
class Stated:
    """What the header of an array states.

    shape: its shape.
    dtype: its dtype, without Python objects.
    """

    shape: tuple[int, ...]
    dtype: "np.dtype[Any]"

    @property
    def memory(self) -> int:
        """The bytes of memory that the array takes at least when it is used; axes of length 0 count as 1."""
        each = self.dtype.itemsize
        each = each + TEXT if self.dtype.kind in "US" else max(each, NUMBER)
        return each * math.prod(max(1, n) for n in self.shape)


def stated(packed: zipfile.ZipFile, member: zipfile.ZipInfo) -> Stated:
    """The header of a member; ValueError for one that cannot be true, and whatever a damaged zip file raises.

    NotAnArray for other members, LongHeader for headers that NumPy does not read, OfObjects for arrays that would have
    to be unpickled.
    """
    with packed.open(member) as file:
        return stated_in(file, member.file_size)


def stated_in(file: IO[bytes], size: int) -> Stated:
    """The header of an array in an open file of `size` bytes; the errors are those of `stated`."""
    shape, dtype = _header(file, size)
    held = size - file.tell()
    if dtype.hasobject:
        raise OfObjects
    header = Stated(shape, dtype)
    if any(type(n) is not int or not 0 <= n <= LONGEST for n in shape) or header.memory > LONGEST:
        raise ValueError(f"no array can have the shape {_short(shape)}")
    needed = dtype.itemsize * math.prod(shape)
    if held < needed:
        raise ValueError(f"it is too short for {_short(shape)} of {dtype}")
    return header


def content(packed: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    """The array of a member whose header was read before; never unpickles."""
    with packed.open(member) as file:
        return content_of(file)


def content_of(file: IO[bytes]) -> Array:
    """The array of an open file whose header was read before; ValueError for text with characters that do not exist."""
    array: Array = np.lib.format.read_array(file, allow_pickle=False)
    if array.dtype.kind == "U" and array.dtype.itemsize:
        codes = np.ascontiguousarray(array).view(f"{array.dtype.byteorder}u4")
        if (codes > sys.maxunicode).any():
            raise ValueError("text with characters that do not exist")
    return array


def _header(file: IO[bytes], size: int) -> "tuple[tuple[int, ...], np.dtype[Any]]":
    if file.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
        raise NotAnArray
    file.seek(0)
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        _check_length(file, 2, size)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version in ((2, 0), (3, 0)):  # the third differs in the encoding of the names of fields alone
        _check_length(file, 4, size)
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"version {version} of the format is not known")
    return shape, dtype


def _check_length(file: IO[bytes], count: int, size: int) -> None:
    """LongHeader if the next `count` bytes, which are the length of the header, say so; the file stays where it is."""
    start = file.tell()
    length = int.from_bytes(file.read(count), "little")
    file.seek(start)
    if MOST_HEADER < length <= size - start - count:
        raise LongHeader(
            f"has a header of {length:,} bytes, and NumPy reads at most {MOST_HEADER:,}. A table of many columns has "
            "such a header: save numbers, np.stack([x[c] for c in x.dtype.names], 1)"
        )


def _short(shape: tuple[object, ...]) -> str:
    """A shape in words, cut off where it is long: Python does not write whole numbers of thousands of digits."""
    axes = [str(n) if not isinstance(n, int) or abs(n) <= LONGEST else "a number beyond 2^63" for n in shape]
    return f"({', '.join(axes)})"[:200]
