"""Texts, byte strings and whole numbers of a pickle, decoded for the reader of pickles; ValueError for damaged ones."""

import codecs

BULK = 2**16  # bytes: longer byte strings stay in the mapped file
LONGEST = 16  # bytes of a whole number; Python does not even write those of thousands of digits


def bulk(data: memoryview) -> bytes | memoryview:
    """A byte string, or the part of the mapped file that holds a long one."""
    return data if len(data) > BULK else bytes(data)


def native(data: memoryview) -> str | memoryview:
    """A string of Python 2, which may be text or bytes: only its use shows which."""
    return data if len(data) > BULK else bytes(data).decode("latin-1")


def text(data: memoryview) -> str:
    """A text, which may hold halves of surrogate pairs."""
    return str(data, "utf-8", "surrogatepass")


def whole(data: memoryview) -> int:
    """A whole number from its bytes, the lowest first."""
    if len(data) > LONGEST:
        raise ValueError(f"a whole number of {len(data)} bytes")
    return int.from_bytes(data, "little", signed=True)


def whole_line(line: bytes) -> int | bool:
    """A whole number, or a truth value, of protocol 0."""
    return {b"00": False, b"01": True}[line] if line in (b"00", b"01") else int(line.removesuffix(b"L"))


def quoted(line: bytes) -> str:
    """A string of protocol 0, as Python 2 writes it."""
    if len(line) < 2 or line[:1] not in b"'\"" or line[-1:] != line[:1]:
        raise ValueError("a string without quotes")
    decoded: bytes = codecs.escape_decode(line[1:-1])[0]
    return decoded.decode("latin-1")
