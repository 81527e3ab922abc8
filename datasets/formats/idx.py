"""The idx files of MNIST: a head of sizes, then bytes; plain or packed with gzip."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.inputs.sizes import check_size
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.formats.foreign import is_web_page
from mcr_bench.datasets.formats.npz import is_pointer, pointer_error

BYTES = 8  # the code of unsigned bytes in the third byte of the head
SHOWN = 64  # bytes that show what another file is
AGAIN = "Copy or download it again."


def read_idx(path: Path, axes: int) -> Array:
    """The array of an idx file of unsigned bytes, uint8 with that many axes.

    UserError that names the file, what is wrong with it, and the remedy.
    """
    content = _content(path, 4 + 4 * axes)
    if content[:3] != bytes((0, 0, BYTES)) or len(content) < 4 + 4 * axes:
        raise UserError(f"'{path}' is {_kind(content)}, not an idx file of bytes. {AGAIN}")
    if content[3] != axes:
        raise UserError(f"'{path}' has {content[3]} axes, expected {axes}. Are images and labels exchanged?")
    sizes = _sizes(content, axes)
    held, stated = len(content) - 4 - 4 * axes, math.prod(sizes)
    if held != stated:
        how = f"truncated: it has {held:,} bytes" if held < stated else "too long: it has more bytes than the"
        raise UserError(f"'{path}' is {how} of {stated:,}. {AGAIN}")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(sizes)


def _content(path: Path, head: int) -> bytes:
    """The bytes of the file, unpacked if they are packed, whatever its name; at most one more than the head states.

    UserError if that would take more memory than a file may take.
    """
    try:
        if is_pointer(path):
            raise pointer_error(path, "images or labels")
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            first = file.read(head)
            axes = (head - 4) // 4
            stated = math.prod(_sizes(first, axes)) if len(first) == head and first[3] == axes else 0
            check_size(path, stated, packed)
            return first + file.read(max(stated, SHOWN) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"'{path}' cannot be read ({error}): damaged or truncated. {AGAIN}") from error


def _sizes(content: bytes, axes: int) -> tuple[int, ...]:
    return struct.unpack_from(f">{axes}I", content, 4)


def _kind(content: bytes) -> str:
    if not content:
        return "empty"
    return "a web page" if is_web_page(content) else "another format"
