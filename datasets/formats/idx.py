"""The idx files of MNIST: a head of sizes, then bytes; plain or packed with gzip."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.formats.foreign import is_web_page
from mcr_bench.datasets.formats.npz import is_pointer, pointer_error

BYTES = 8  # the code of unsigned bytes in the third byte of the head
AGAIN = "Copy or download it again."


def read_idx(path: Path, axes: int) -> Array:
    """The array of an idx file of unsigned bytes, uint8 with that many axes.

    UserError that names the file, what is wrong with it, and the remedy.
    """
    content = _content(path)
    if content[:3] != bytes((0, 0, BYTES)) or len(content) < 4 + 4 * axes:
        raise UserError(f"'{path}' is {_kind(content)}, not an idx file of bytes. {AGAIN}")
    if content[3] != axes:
        raise UserError(f"'{path}' has {content[3]} axes, expected {axes}. Are images and labels exchanged?")
    sizes = struct.unpack_from(f">{axes}I", content, 4)
    held, stated = len(content) - 4 - 4 * axes, math.prod(sizes)
    if held != stated:
        how = "truncated" if held < stated else "too long"
        raise UserError(f"'{path}' is {how}: it has {held:,} bytes of {stated:,}. {AGAIN}")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(sizes)


def _content(path: Path) -> bytes:
    """The bytes of the file, unpacked if they are packed, whatever the name says."""
    try:
        if is_pointer(path):
            raise pointer_error(path, "images or labels")
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"'{path}' cannot be read ({error}): damaged or truncated. {AGAIN}") from error


def _kind(content: bytes) -> str:
    if not content:
        return "empty"
    return "a web page" if is_web_page(content) else "another format"
