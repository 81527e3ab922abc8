"""Zip files that inflate to any size, made in no time, and headers of arrays that state whatever they like."""

import struct
import zlib
from pathlib import Path

import numpy as np

BLOCK = 2**20
LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
END64, LOCATOR = b"PK\x06\x06", b"PK\x06\x07"
UNKNOWN = 0xFFFFFFFF


def header(shape: object, descr: object = "<f4", fortran: object = False, version: int = 1) -> bytes:
    """The head of an .npy file, whatever its shape and dtype are."""
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran!r}, 'shape': {shape}, }}".encode()
    length = struct.pack("<H" if version == 1 else "<I", len(text) + 1)
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + b"\n"


Member = tuple[str, bytes, int, int]  # name, deflated stream, size and checksum of what it inflates to


def inflating(name: str, head: bytes, blocks: int) -> Member:
    """A member of `head` and so many MiB of zeros, of which every block is packed once; its checksum is not right."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)
    return name, start + blocks * block + packer.flush(), len(head) + blocks * BLOCK, 0


def write_zip(path: Path, members: list[Member], *, stated: int | None = None) -> Path:
    """A zip64 file of deflated members. stated: the size that its headers state instead."""
    body, central = b"", b""
    for name, stream, size, checksum in members:
        extra = struct.pack("<HHQQ", 1, 16, size if stated is None else stated, len(stream))
        fixed = struct.pack("<HHHHHIII", 45, 0, 8, 0, 33, checksum, UNKNOWN, UNKNOWN)
        named = name.encode()
        place = struct.pack("<HHHHHII", len(named), len(extra), 0, 0, 0, 0, len(body))
        central += CENTRAL + struct.pack("<H", 45) + fixed + place + named + extra
        body += LOCAL + fixed + struct.pack("<HH", len(named), len(extra)) + named + extra + stream
    count = len(members)
    end64 = END64 + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, len(central), len(body))
    locator = LOCATOR + struct.pack("<IQI", 0, len(body) + len(central), 1)
    end = END + struct.pack("<HHHHIIH", 0, 0, count, count, len(central), UNKNOWN, 0)
    path.write_bytes(body + central + end64 + locator + end)
    return path


def bomb(path: Path, blocks: int, *, stated: int | None = None) -> Path:
    """An .npz with y, split, and an x_a of so many MiB of zeros, which takes about a thousandth of that."""
    rows = 4
    head = header((rows, blocks * BLOCK // 4 // rows))
    small = {"y": np.arange(rows) % 2, "split": np.array(["train", "train", "val", "test"])}
    members = [member(f"{key}.npy", header(x.shape, x.dtype.str) + x.tobytes()) for key, x in small.items()]
    return write_zip(path, [*members, inflating("x_a.npy", head, blocks)], stated=stated)


def stating(path: Path, head: bytes, content: bytes = bytes(64)) -> Path:
    """An .npz whose x_a has this head."""
    return write_zip(path, [member("x_a.npy", head + content)])


def member(name: str, content: bytes) -> Member:
    """A member with this content."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return name, packer.compress(content) + packer.flush(), len(content), zlib.crc32(content)
