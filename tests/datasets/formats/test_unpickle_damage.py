"""The reader of pickles against damage: hand-made states, stated sizes, nesting, truncation, files of another kind."""

import pickle
import pickletools
import struct
from pathlib import Path

import numpy as np
import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.formats import unpickle as _unpickle
from mcr_bench.datasets.formats.unpickle import read_pickle
from mcr_bench.tests.support.media.pickle_files import PLAIN, PROTOCOLS, read

DTYPE = b"cnumpy\ndtype\n(X\x02\x00\x00\x00%bK\x00K\x01tR"
BLANK = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"cnumpy\nndarray\n(J\x00\x00\x00\x40\x85tR.", "a call of ndarray"),
        (b"cnumpy\nndarray\n.", "without content"),
        (b"](" + BLANK + b"e.", "without content"),
        (BLANK + b"}b.", "state of a Blank"),
        (b"]}b.", "state of a list"),
        (DTYPE % b"f4" + b"}X\x01\x00\x00\x00x" + b"K\x01sb.", "state of a Type"),
        (DTYPE % b"f4" + b"(K\x03X\x01\x00\x00\x00<NX\x01\x00\x00\x00n}NNNtb.", "records"),
        (DTYPE % b"f4" + b"(K\x03X\x01\x00\x00\x00<NNNJ\x01\x00\x00\x00K\x01K\x00}K\x01K\x02stb.", "metadata"),
        (DTYPE % b"V9" + b".", "dtype V9"),
        (DTYPE % b"M8" + b".", "dtype M8"),
        (b"cnumpy\ndtype\n(cnumpy\nndarray\ntR.", "dtype named by a Name"),
        (b"cnumpy.core.multiarray\nscalar\n(" + DTYPE % b"O8" + b"C\x08aaaaaaaatR.", "scalar of dtype object"),
        (
            b"cnumpy.core.numeric\n_frombuffer\n(C\x08aaaaaaaa" + DTYPE % b"O8" + b"K\x01\x85X\x01\x00\x00\x00CtR.",
            "buffer of dtype object",
        ),
        (b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00zip" + b"tR.", "another encoding"),
        (BLANK + b"(K\x01K\x01\x85" + DTYPE % b"O8" + b"\x89](]etb.", "object array of other things"),
        (BLANK + b"(K\x01K\x01\x85" + DTYPE % b"O8" + b"\x89C\x08aaaaaaaatb.", "object array without its elements"),
        (BLANK + b"(K\x01J\xff\xff\xff\xff\x85" + DTYPE % b"f4" + b"\x89C\x00tb.", "without shape"),
        (BLANK + b"(K\x01K\x02\x85" + DTYPE % b"f4" + b"\x89C\x04aaaatb.", "4 bytes for 2 values of float32"),
        (BLANK + b"(K\x01K\x01\x85" + DTYPE % b"U1" + b"\x89C\x04\x00\x00\x11\x00tb.", "characters that do not exist"),
        (
            b"cnumpy.core.multiarray\nscalar\n(" + DTYPE % b"U1" + b"C\x04\xff\xff\xff\xfftR.",
            "characters that do not exist",
        ),
        (b"}((K\x01tK\x02s.", "damaged"),
        (b"}(](K\x01eK\x02u.", "not a scalar"),
        (b"\x8f((K\x01t\x90.", "not a scalar"),
        (b"K\x01K\x02a.", "a list to fill is missing"),
        (b"h\x05.", "damaged"),
        (b"(.", "stack is empty"),
        (b"S'unquoted\n.", "without quotes"),
        (b"\xff.", "not an opcode"),
        (b"hello world, this is text", "damaged"),
    ],
)
def test_hand_made_states_and_damage_are_errors(content: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=reason):
        read(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    [
        BLANK + b"(K\x01\x8a\x06" + (10**13).to_bytes(6, "little") + b"\x85" + DTYPE % b"f4" + b"\x89C\x04aaaatb.",
        BLANK + b"(K\x01\x8a\x06" + (10**13).to_bytes(6, "little") + b"\x85" + DTYPE % b"U0" + b"\x89C\x00tb.",
        BLANK + b"(K\x01\x8a\x06" + (10**13).to_bytes(6, "little") + b"\x85" + DTYPE % b"O8" + b"\x89]tb.",
        b"\x8e" + struct.pack("<Q", 2**62) + b".",
        b"\x8b" + struct.pack("<i", 2**31 - 1) + b".",
        b"\x8b" + struct.pack("<i", -1) + b".",
        b"I" + b"9" * 5_000 + b"\n.",
    ],
)
def test_stated_sizes_allocate_nothing(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"damaged|truncated"):
        read(tmp_path, content)


def test_a_flood_of_steps_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_unpickle, "MOST_STEPS", 1_000)
    with pytest.raises(UserError, match="more than 1000 steps"):
        read(tmp_path, b"(" + b"\x8f" * 1_000 + b"t.")


def test_deep_nesting_neither_recurses_nor_is_hashed(tmp_path: Path) -> None:
    result = read(tmp_path, b")" + b"\x85" * 20_000 + b".")
    for _ in range(20_000):
        (result,) = result
    assert result == ()
    with pytest.raises(UserError, match="not a scalar"):
        read(tmp_path, b"})" + b"\x85" * 200_000 + b"Ns.")


NESTED = {"deep": b")" + b"\x85" * 200_000, "wide": b")" + b"2\x86" * 24}  # a repr recurses, or has 2**24 members


@pytest.mark.parametrize("nested", NESTED.values(), ids=NESTED)
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"%bX\x01\x00\x00\x00x\x93.", "holds 'a name that is not text'"),
        (b"X\x01\x00\x00\x00x%b\x93.", "holds 'a name that is not text'"),
        (b"cnumpy\ndtype\n(%btR.", "dtype named by a tuple"),
    ],
    ids=["module", "name", "dtype"],
)
def test_nested_things_are_never_written_out(content: bytes, reason: str, nested: bytes, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=reason):
        read(tmp_path, content % nested)


@pytest.mark.parametrize("content", [b"c%b\nx\n.", b"i%b\nx\n.", b"F%b\n."], ids=["GLOBAL", "INST", "FLOAT"])
def test_messages_quote_a_part_of_long_texts(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, content % (b"x" * 100_000))
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_truncation_is_an_error_that_says_so(protocol: int, tmp_path: Path) -> None:
    content = pickle.dumps({"x": np.arange(4.0), "id": ["a", "b"], "n": 2**40}, protocol)
    for size in range(1, len(content), 5):
        with pytest.raises(UserError, match=r"truncated|damaged"):
            read(tmp_path, content[:size])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_any_damage_gives_a_value_or_an_error_of_the_users(protocol: int, tmp_path: Path) -> None:
    content = pickle.dumps({"x": np.arange(4.0), "o": np.array(["a", 1], object), "t": PLAIN}, protocol)
    mutate = np.random.default_rng(protocol)
    codes = [ord(op.code) for op in pickletools.opcodes]
    refused = 0
    for _ in range(100):
        changed = bytearray(content)
        for at in mutate.integers(0, len(content), size=2):
            changed[at] = mutate.choice(codes)
        try:
            read(tmp_path, bytes(changed))
        except UserError:
            refused += 1
    assert refused > 10


def test_files_that_are_no_pickle_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="git lfs pull"):
        read(tmp_path, b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(UserError, match="is empty"):
        read(tmp_path, b"")
    with pytest.raises(UserError, match="cannot be read"):
        read_pickle(tmp_path / "none.pkl")
