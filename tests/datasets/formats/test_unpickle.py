"""The reader of pickles: what arrays and plain containers come out, and that nothing in a file is ever run."""

import io
import mmap
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.tests.support.media.pickle_files import PLAIN, PROTOCOLS, read

draws = np.random.default_rng(0)
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


def require_same(actual: Any, wanted: Any) -> None:
    if isinstance(wanted, np.ndarray):
        assert actual.dtype == wanted.dtype
        assert actual.shape == wanted.shape
        assert (actual == wanted).all()
        assert [type(x) for x in actual.ravel().tolist()] == [type(x) for x in wanted.ravel().tolist()]
    elif isinstance(wanted, list | tuple):
        assert type(actual) is type(wanted)
        assert len(actual) == len(wanted)
        for mine, theirs in zip(actual, wanted, strict=True):
            require_same(mine, theirs)
    elif isinstance(wanted, dict):
        require_same(list(actual.items()), list(wanted.items()))
    else:
        assert type(actual) is type(wanted)
        assert actual == wanted


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
    result = read(tmp_path, b"\x80\x02}(U\x06visionq\x01" + array + b"U\x02idS'a\\x62'\nu.")
    require_same(result["vision"], np.array([[1.5, -2.0]], np.float32))
    assert result["id"] == "ab"


def test_the_same_thing_twice_is_read_once(tmp_path: Path) -> None:
    x = np.arange(3)
    result = read(tmp_path, pickle.dumps([x, x, {"again": x}]))
    assert result[0] is result[1] is result[2]["again"]


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_large_arrays_stay_in_the_mapped_file(protocol: int, tmp_path: Path) -> None:
    result = read(tmp_path, pickle.dumps({"x": np.arange(100_000.0)}, protocol))["x"]
    while not isinstance(result, memoryview):
        assert isinstance(result, np.ndarray)
        assert not result.flags.owndata
        assert not result.flags.writeable
        result = result.base
    assert isinstance(result.obj, mmap.mmap)


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
    with pytest.raises(UserError, match=rf"'[\w.]*{name}', which is neither .* Nothing in it was run"):
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


def test_arrays_of_arrays_are_named_with_the_remedy(tmp_path: Path) -> None:
    """As programs pickle sequences of several lengths: nothing is wrong with the copy."""
    ragged = np.empty(2, object)
    ragged[:] = [np.zeros(2), np.zeros(3)]
    with pytest.raises(UserError, match=r"text and numbers, such as arrays of arrays\. Save arrays of numbers"):
        read(tmp_path, pickle.dumps({"audio": ragged}, 4))
