"""The reader of pickles: what arrays and plain containers come out, and that nothing in a file is ever run."""

import io
import mmap
import os
import pickle
import pickletools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets import _unpickle
from mcr_bench.datasets._unpickle import read_pickle

PROTOCOLS = range(6)
draws = np.random.default_rng(0)
PLAIN: dict[str, Any] = {
    "numbers": [0, 1, -2, 255, 256, 70_000, -(2**31), 2**70, -(2**70), 3.5, float("inf"), None, True, False],
    "text": ["", "ü €", "a" * 300, "line\nbreak", "back\\slash", "\ud800"],
    "bytes": [b"", b"\x00\xff\n", b"b" * 300],
    "nested": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [[]], {}, {"k": {1: 2}}, {3: (4,)}),
    "sets": [set(), {1, "a"}, frozenset({2, b"b"})],
}
ARRAYS: dict[str, Any] = {
    "float32": draws.normal(size=(2, 3, 4)).astype(np.float32),
    "float64": draws.normal(size=(300, 40)),
    "fortran": np.asfortranarray(draws.normal(size=(3, 4))),
    "big endian": np.array([1, -2, 3], ">i4"),
    "bool": np.array([[True], [False]]),
    "text": np.array(["x", "yü"]),
    "bytes": np.array([b"x", b"yz"]),
    "objects": np.array(["é", b"q", 3, None, 2.5], object),
    "none": np.zeros((0, 5)),
    "no axis": np.array(2.0),
    "scalar": np.float32(1.5),
    "text scalar": np.str_("abc"),
}


def stored(folder: Path, content: bytes) -> Path:
    path = folder / "file.pkl"
    path.write_bytes(content)
    return path


def read(folder: Path, content: bytes) -> Any:
    return read_pickle(stored(folder, content))


def require_same(found: Any, wanted: Any) -> None:
    if isinstance(wanted, np.ndarray):
        assert found.dtype == wanted.dtype
        assert found.shape == wanted.shape
        assert (found == wanted).all()
        assert [type(x) for x in found.ravel().tolist()] == [type(x) for x in wanted.ravel().tolist()]
    elif isinstance(wanted, list | tuple):
        assert type(found) is type(wanted)
        assert len(found) == len(wanted)
        for mine, theirs in zip(found, wanted, strict=True):
            require_same(mine, theirs)
    elif isinstance(wanted, dict):
        require_same(list(found.items()), list(wanted.items()))
    else:
        assert type(found) is type(wanted)
        assert found == wanted


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("content", [PLAIN, ARRAYS], ids=["plain", "arrays"])
def test_gives_what_was_pickled(content: dict[str, Any], protocol: int, tmp_path: Path) -> None:
    require_same(read(tmp_path, pickle.dumps(content, protocol)), content)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3])
def test_reads_the_names_of_numpy_1(protocol: int, tmp_path: Path) -> None:
    content = pickle.dumps(ARRAYS, protocol).replace(b"cnumpy._core.", b"cnumpy.core.")
    assert b"_core" not in content
    require_same(read(tmp_path, content), ARRAYS)


def test_reads_numpys_own_buffers_of_protocol_5_under_either_name(tmp_path: Path) -> None:
    content = pickle.dumps(np.arange(6.0), 5)
    assert b"numpy._core.numeric" in content
    require_same(read(tmp_path, content), np.arange(6.0))
    name = b"\x8c\x13numpy._core.numeric"
    older = content.replace(name, b"\x8c\x12numpy.core.numeric")
    older = older[:3] + struct.pack("<Q", len(older) - 11) + older[11:]
    require_same(pickle.loads(content), np.arange(6.0))
    require_same(read(tmp_path, older), np.arange(6.0))


def test_reads_strings_of_python_2(tmp_path: Path) -> None:
    """Protocol 2 as Python 2 and numpy 1 wrote it: names of two parts, content as a string of bytes."""
    body = np.array([[1.5, -2.0]], "<f4").tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
        b"(K\x01K\x01K\x02\x86cnumpy\ndtype\n(U\x02f4K\x00K\x01tR"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb" + b"\x89U\x08" + body + b"tb"
    )
    found = read(tmp_path, b"\x80\x02}(U\x06visionq\x01" + array + b"U\x02idS'a\\x62'\nu.")
    require_same(found["vision"], np.array([[1.5, -2.0]], np.float32))
    assert found["id"] == "ab"


def test_the_same_thing_twice_is_read_once(tmp_path: Path) -> None:
    x = np.arange(3)
    found = read(tmp_path, pickle.dumps([x, x, {"again": x}]))
    assert found[0] is found[1] is found[2]["again"]


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_large_arrays_stay_in_the_mapped_file(protocol: int, tmp_path: Path) -> None:
    found = read(tmp_path, pickle.dumps({"x": np.arange(100_000.0)}, protocol))["x"]
    while not isinstance(found, memoryview):
        assert isinstance(found, np.ndarray)
        assert not found.flags.owndata
        assert not found.flags.writeable
        found = found.base
    assert isinstance(found.obj, mmap.mmap)


class Runs:
    """Pickles as a call."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call = (call, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (os.system, r"posix\.system"),
        (eval, r"eval"),
        (exec, r"exec"),
        (io.open, r"(_io|io)\.open"),
        (getattr, "getattr"),
    ],
)
@pytest.mark.parametrize("where", ["bare", "in a list", "in an object array", "as a key"])
def test_calls_are_refused_by_name_and_never_run(
    call: Any, name: str, where: str, protocol: int, tmp_path: Path
) -> None:
    mark = tmp_path / "was-run"
    argument = {os.system: f"touch {mark}"}.get(call, f"open({str(mark)!r}, 'w')")
    arguments = (str(mark), "w") if call is io.open else (argument,)
    attack: Any = Runs(call, *arguments)
    held = {"bare": attack, "in a list": [1, attack], "as a key": {(1, 2): attack}}.get(where)
    if where == "in an object array":
        held = np.array([None, "x"], object)
        held[0] = attack
    with pytest.raises(UserError, match=rf"'[\w.]*{name}', which is neither .* Nothing of it was run"):
        read(tmp_path, pickle.dumps(held, protocol))
    assert not mark.exists()


@pytest.mark.parametrize(
    "name",
    [
        "numpy.f2py.crackfortran myeval",
        "numpy.testing._private.utils runstring",
        "numpy f2py.crackfortran.myeval",
        "numpy.core.multiarray fromfile",
        "numpy._core.multiarray _reconstruct.__globals__",
        "numpy ndarray.tofile",
        "numpy memmap",
        "builtins set.__class__",
        "codecs encode",
        "_codecs decode",
        "copyreg _reconstructor",
        "collections OrderedDict",
        "pandas.core.frame DataFrame",
        "torch._utils _rebuild_tensor_v2",
    ],
)
def test_names_beside_the_admitted_ones_are_refused(name: str, tmp_path: Path) -> None:
    module, attribute = (part.encode() for part in name.split(" "))
    wanted = name.replace(" ", ".").replace(".", r"\.")
    short = b"".join(b"\x8c" + bytes([len(part)]) + part for part in (module, attribute))
    for content in (
        b"c" + module + b"\n" + attribute + b"\n(tR.",
        b"\x80\x04" + short + b"\x93)R.",
        b"(i" + module + b"\n" + attribute + b"\n.",
    ):
        with pytest.raises(UserError, match=f"'{wanted}', which is neither"):
            read(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "opcode"),
    [
        (b"Pid\n.", "PERSID"),
        (b"K\x01Q.", "BINPERSID"),
        (b"\x82\x01.", "EXT1"),
        (b"\x84\x01\x00\x00\x00.", "EXT4"),
        (b"cnumpy\nndarray\n)\x81.", "NEWOBJ"),
        (b"cnumpy\nndarray\n)}\x92.", "NEWOBJ_EX"),
        (b"(cnumpy\nndarray\no.", "OBJ"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
    ],
)
def test_opcodes_that_make_objects_are_refused(content: bytes, opcode: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"'opcode {opcode}'"):
        read(tmp_path, content)


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
        (BLANK + b"(K\x01K\x01\x85" + DTYPE % b"O8" + b"\x89C\x08aaaaaaaatb.", "object array of other things"),
        (BLANK + b"(K\x01J\xff\xff\xff\xff\x85" + DTYPE % b"f4" + b"\x89C\x00tb.", "without shape"),
        (BLANK + b"(K\x01K\x02\x85" + DTYPE % b"f4" + b"\x89C\x04aaaatb.", "4 bytes for 2 values of float32"),
        (BLANK + b"(K\x01K\x01\x85" + DTYPE % b"U1" + b"\x89C\x04\x00\x00\x11\x00tb.", "characters that there are not"),
        (
            b"cnumpy.core.multiarray\nscalar\n(" + DTYPE % b"U1" + b"C\x04\xff\xff\xff\xfftR.",
            "characters that there are not",
        ),
        (b"}((K\x01tK\x02s.", "damaged"),
        (b"}(](K\x01eK\x02u.", "no scalar"),
        (b"\x8f((K\x01t\x90.", "no scalar"),
        (b"K\x01K\x02a.", "no list to fill"),
        (b"h\x05.", "damaged"),
        (b"(.", "stack is empty"),
        (b"S'unquoted\n.", "without quotes"),
        (b"\xff.", "no opcode"),
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
    found = read(tmp_path, b")" + b"\x85" * 20_000 + b".")
    for _ in range(20_000):
        (found,) = found
    assert found == ()
    with pytest.raises(UserError, match="no scalar"):
        read(tmp_path, b"})" + b"\x85" * 200_000 + b"Ns.")


NESTED = {"deep": b")" + b"\x85" * 200_000, "wide": b")" + b"2\x86" * 24}  # a repr recurses, or has 2**24 members


@pytest.mark.parametrize("nested", NESTED.values(), ids=NESTED)
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"%bX\x01\x00\x00\x00x\x93.", "holds 'a name that is no text'"),
        (b"X\x01\x00\x00\x00x%b\x93.", "holds 'a name that is no text'"),
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
