"""Small files that hold gigabytes, state impossible shapes or are nested thousands deep, wherever files are read."""

import gzip
import pickle
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat
from typer.testing import CliRunner

from mcr_bench.bench.catalog import presets
from mcr_bench.bench.core.inputs import sizes, texts
from mcr_bench.bench.core.memory import peak_mib, reset_peak
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.planning.experiment import read_experiment
from mcr_bench.bench.record.files.artifacts import PREDICTIONS, Artifact
from mcr_bench.bench.record.files.samples import read_samples
from mcr_bench.bench.tuning.result import read_searches
from mcr_bench.cli import app
from mcr_bench.datasets.cache.opened import cache_of
from mcr_bench.datasets.formats import npz
from mcr_bench.datasets.formats.csd import open_csd
from mcr_bench.datasets.formats.idx import read_idx
from mcr_bench.datasets.formats.npz import read_arrays
from mcr_bench.datasets.formats.unpickle import read_pickle
from mcr_bench.datasets.media.decode import Unusable, read_audio, read_frames
from mcr_bench.datasets.raw import utd_raw
from mcr_bench.datasets.raw.lists import read_content
from mcr_bench.datasets.sequences.pickles import read_samples as read_sequences
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.inputs.packed import bomb, header, member, stating, write_zip

FAULT = Fault(
    "a file of some megabytes that holds gigabytes, a header with an impossible shape, texts nested thousands deep",
    "refused before it is read, by a sentence that names the file, its size in memory and the variable that allows it",
)
LIMIT = 2**26
SLACK = 64  # MiB that a refusal may take, for what is imported on the way
DEEP = 20_000


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file may take 64 MiB, whatever memory this machine has; folders are new."""
    monkeypatch.setenv(sizes.OPTION, str(LIMIT))
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def no_more() -> Iterator[None]:
    """Asserts that what the test does takes little memory."""
    import torch

    reset_peak(torch.device("cpu"))
    before = peak_mib(torch.device("cpu"))
    yield
    assert peak_mib(torch.device("cpu")) - before < SLACK


@pytest.mark.usefixtures("no_more")
def test_an_npz_that_inflates_to_gigabytes_is_refused(tmp_path: Path) -> None:
    path = bomb(tmp_path / "a.npz", 6000)
    assert path.stat().st_size < 7_000_000
    with pytest.raises(UserError, match=r"needs 6\.3 GB.*may take 67\.1 MB.*FILE_MEMORY=7GB.*size on disk is 6\.2 MB"):
        read_arrays(path)


def test_the_variable_allows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same file with fewer zeros is read once the variable allows its size."""
    path = bomb(tmp_path / "a.npz", 80)
    monkeypatch.setattr("zipfile.ZipExtFile._update_crc", lambda *_: None)  # the checksum of so many zeros takes long
    with pytest.raises(UserError, match="FILE_MEMORY=1GB"):
        read_arrays(path)
    monkeypatch.setenv(sizes.OPTION, "1 GB")
    assert read_arrays(path)["x_a"].nbytes == 80 * 2**20


@pytest.mark.parametrize("words", [["run"], ["run", "--plan"], ["describe"]])
@pytest.mark.slow
def test_every_verb_that_reads_data_refuses_it(words: list[str], tmp_path: Path) -> None:
    file = str(bomb(tmp_path / "a.npz", 200))
    asked = [*words, file] if words == ["describe"] else [*words, "--methods", "joint", "--dataset", file]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 2
    assert "needs 209.7 MB of memory" in " ".join(done.output.split())


MEMBERS = {
    "two members that each fit": [("x_a.npy", 40), ("x_b.npy", 40)],
    "something that is no array": [("notes.txt", 200)],
    "many members": [(f"x_{i}.npy", 2) for i in range(40)],
}


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.usefixtures("no_more")
def test_members_count_together(name: str, tmp_path: Path) -> None:
    from mcr_bench.tests.support.inputs.packed import inflating

    members = [inflating(key, header((n * 2**18,)) if key.endswith(".npy") else b"text", n) for key, n in MEMBERS[name]]
    with pytest.raises(UserError, match=r"needs 8\d\.\d MB|is not an array"):
        read_arrays(write_zip(tmp_path / "a.npz", members))


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    members = [member("y.npy", header((2,), "<i8") + bytes(16)), member("y", header((2,), "<i8") + bytes(16))]
    with pytest.raises(UserError, match="'y' is in the file twice"):
        read_arrays(write_zip(tmp_path / "a.npz", members))


@pytest.mark.parametrize("stated", [0, 100, 2**20, 2**62])
@pytest.mark.usefixtures("no_more")
def test_sizes_that_a_zip_file_states_are_not_believed(stated: int, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the file is damaged|needs 10"):
        read_arrays(bomb(tmp_path / "a.npz", 100, stated=stated))


SHAPES = {
    "beyond 2^63": ("(9223372036854775808,)", "<f4"),
    "far beyond 2^63": ("(1" + 4000 * "0" + ",)", "<f4"),
    "a product beyond 2^63": ("(4294967296, 4294967296)", "<f4"),
    "no elements, but long": ("(4611686018427387904, 0)", "<f4"),
    "no bytes, but long": ("(4611686018427387904,)", "<U0"),
    "negative": ("(-1,)", "<f4"),
    "two negative": ("(-4, -4)", "<f4"),
    "a text": ("(4, '4')", "<f4"),
    "a truth value": ("(True,)", "<f4"),
    "a float": ("(4.0,)", "<f4"),
    "a list": ("[4]", "<f4"),
    "not a tuple": ("4", "<f4"),
    "a call": ("(len(()),)", "<f4"),
    "nested brackets": (500 * "(" + 500 * ")", "<f4"),
    "nested signs": (f"({4000 * '-'}1,)", "<f4"),
    "more axes than arrays have": (f"({100 * '1, '})", "<f4"),
    "more than the file holds": ("(1000,)", "<f4"),
    "texts longer than the file": ("(4,)", "<U1000000"),
    "a dtype that is too long": ("(4,)", "<U2147483000"),
    "a dtype with an array in it": ("(4,)", [("a", "<f4", (10**9,))]),
    "objects": ("(4,)", "|O"),
    "objects in a record": ("(4,)", [("a", "|O")]),
    "no dtype": ("(4,)", 7),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.usefixtures("no_more")
def test_a_header_that_cannot_be_true(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'x_a' (cannot be read|is an array of Python objects)") as refused:
        read_arrays(stating(tmp_path / "a.npz", header(*SHAPES[name])))
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("version", [1, 2, 3, 9])
@pytest.mark.parametrize("fortran", [False, True, "yes"])
def test_headers_of_all_versions_and_orders(version: int, fortran: object, tmp_path: Path) -> None:
    """Honest ones are read, in the order of their content, and impossible ones are refused."""
    path = stating(tmp_path / "a.npz", header((2, 2), "<i8", fortran, version), np.arange(4).tobytes())
    if version == 9 or fortran == "yes":
        with pytest.raises(UserError, match="cannot be read"):
            read_arrays(path)
    else:
        assert read_arrays(path)["x_a"].tolist() == ([[0, 2], [1, 3]] if fortran else [[0, 1], [2, 3]])


def nested_toml(before: str) -> str:
    return f"{before} = {DEEP * '['}{DEEP * ']'}\n"


TOMLS = {
    "lists": nested_toml("seeds"),
    "tables": "[set]\na = " + DEEP * "{a=" + "1" + DEEP * "}" + "\n",
    "a dotted key": "[set]\n" + ".".join(DEEP * ["a"]) + " = 1\n",
    "the name of a table": "[" + ".".join(DEEP * ["a"]) + "]\n",
    "a whole number of 5,000 digits": f"seeds = {5000 * '9'}\n",
    "a hexadecimal number of 5,000 digits": f"seeds = 0x{5000 * 'f'}\n",
}


@pytest.mark.parametrize("place", ["experiment", "preset"])
@pytest.mark.parametrize("name", TOMLS)
def test_toml_that_is_nested_thousands_deep(name: str, place: str, tmp_path: Path) -> None:
    if place == "experiment":
        (tmp_path / "e.toml").write_text(TOMLS[name])
        with pytest.raises(UserError, match=r"e\.toml: not valid TOML: .*(nested|whole number|digits)"):
            read_experiment("e.toml")
    else:
        path = presets.user_file("synthetic")
        path.parent.mkdir(parents=True)
        path.write_text(TOMLS[name])
        with pytest.raises(UserError, match=r"cannot be read: .*(nested|whole number|digits)"):
            presets.user_presets("synthetic")


@pytest.mark.parametrize("content", [DEEP * "[" + DEEP * "]", DEEP * '{"a":' + "1" + DEEP * "}", DEEP * "["])
def test_json_that_is_nested_thousands_deep(content: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"nested deeper than 64 levels|Expecting"):
        texts.json_of(content)
    with pytest.raises(UserError, match="cannot be read"):
        read_searches(path)
    with pytest.raises(UserError, match="is damaged"):
        cache_of(tmp_path, content.encode())


@pytest.mark.usefixtures("no_more")
def test_a_list_of_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    with path.open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(UserError, match=r"train\.csv' needs 10\.7 GB"):
        read_content(path)


@pytest.mark.parametrize("text", ["lots", "-1GB", "1e3", "1 ZB", "", "9" * 400, "1GB; rm", "\x1b[31m"])
def test_a_variable_that_is_not_a_size(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused by name; an empty one is as none."""
    monkeypatch.setenv(sizes.OPTION, text)
    if not text:
        assert sizes.most_bytes() >= sizes.ALWAYS
        return
    with pytest.raises(UserError, match=r"MCR_BENCH_FILE_MEMORY=.*Give a size, such as 8GB") as refused:
        sizes.most_bytes()
    assert "\x1b" not in str(refused.value)


def long_number(path: Path) -> None:
    path.write_bytes(b"\x80\x02\x8b" + struct.pack("<i", 10**6) + 10**6 * b"\x7f" + b".")


def copies_of_a_text(path: Path) -> None:
    text = 10**6 * b"a"
    begin = (
        b"\x80\x04X" + struct.pack("<I", len(text)) + text + b"\x940c_codecs\nencode\n\x940X\x06\x00\x00\x00latin1\x940"
    )
    path.write_bytes(begin + b"(" + 3000 * b"h\x01h\x00h\x02\x86R" + b"l.")


def copies_of_a_list(path: Path) -> None:
    begin = b"\x80\x04](" + 100_000 * b"K\x01" + b"e\x940cbuiltins\nset\n\x940"
    path.write_bytes(begin + b"(" + 2000 * b"h\x01h\x00\x85R" + b"l.")


def many_sets(path: Path) -> None:
    path.write_bytes(b"\x80\x04(" + 300_000 * b"\x8f\x94" + b"l.")


def deep_keys(path: Path) -> None:
    path.write_bytes(b"\x80\x04}K\x01" + 10**5 * b"\x85" + b"K\x01s.")


PICKLES: dict[str, Callable[[Path], None]] = {
    one.__name__.replace("_", " "): one
    for one in (long_number, copies_of_a_text, copies_of_a_list, many_sets, deep_keys)
}


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_that_grows_in_memory(name: str, tmp_path: Path) -> None:
    PICKLES[name](tmp_path / "a.pkl")
    with pytest.raises(UserError, match=r"is damaged.*(\d+ bytes|again and again|steps|not a scalar)"):
        read_pickle(tmp_path / "a.pkl")


@pytest.mark.usefixtures("no_more")
def test_ids_that_are_nested_lists_which_share_parts(tmp_path: Path) -> None:
    """Ten lists in ten lists, nine deep, are a gigabyte once they are unrolled."""
    ids: list[Any] = ["a"]
    for _ in range(9):
        ids = 10 * [ids]
    part = {"text": np.zeros((10, 1, 1)), "audio": np.zeros((10, 1, 1)), "vision": np.zeros((10, 1, 1))}
    part |= {"labels": np.zeros((10, 1, 1)), "id": ids}  # type: ignore[dict-item]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"train": part, "valid": part, "test": part}))
    with pytest.raises(UserError, match="'id' of 'train' is nested too deep"):
        read_sequences(tmp_path / "a.pkl")


@pytest.mark.parametrize("form", ["a long array", "a huge chunk", "no elements, but long"])
@pytest.mark.usefixtures("no_more")
def test_a_sequence_whose_content_was_never_written(form: str, tmp_path: Path) -> None:
    shape, chunks = {
        "a long array": ((10**9, 74), (1000, 74)),
        "a huge chunk": ((10, 74), (10**6, 74)),
        "no elements, but long": ((2**40, 0), None),
    }[form]
    with h5py.File(tmp_path / "a.csd", "w") as file:
        most = (None, shape[1]) if chunks else None
        file.create_dataset("root/data/v[0]/features", shape, "<f4", chunks=chunks, maxshape=most)
    assert (tmp_path / "a.csd").stat().st_size < 100_000
    with pytest.raises(UserError, match=r"a\.csd' needs [\d.,]+ [GTM]B"):
        open_csd(tmp_path / "a.csd").features("v[0]")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("stated", [2**16, 8])
@pytest.mark.usefixtures("no_more")
def test_images_that_state_too_much_or_inflate(packed: bool, stated: int, tmp_path: Path) -> None:
    head = bytes((0, 0, 8, 3)) + struct.pack(">III", stated, 100, 100)
    content = head + bytes(8 * 100 * 100) + bytes(0 if stated > 8 else 30_000_000)
    (tmp_path / "a").write_bytes(gzip.compress(content, 1) if packed else content)
    with pytest.raises(UserError, match=r"needs 655|is too long"):
        read_idx(tmp_path / "a", 3)


@pytest.mark.usefixtures("no_more")
def test_predictions_of_equal_values_that_take_no_room_on_the_disk(tmp_path: Path) -> None:
    """A run's file of ten million equal rows is as one that cannot be read."""
    rows = pa.table(
        {"part": pa.DictionaryArray.from_arrays(pa.array(np.zeros(10_000_000, np.int8)), pa.array(["test"]))}
    )
    file = tmp_path / PREDICTIONS
    pq.write_table(rows, file)
    del rows
    assert file.stat().st_size < 100_000
    assert read_samples(["a"], lambda *_: Artifact(PREDICTIONS, file, True), tmp_path / "cache.db") == {}


@pytest.mark.slow
def test_a_mat_file_that_inflates(tmp_path: Path) -> None:
    savemat(tmp_path / "a1_s1_t1_inertial.mat", {"d_iner": np.zeros((10**7, 6), np.int8)}, do_compression=True)
    assert (tmp_path / "a1_s1_t1_inertial.mat").stat().st_size < 100_000
    with pytest.raises(Unusable, match=r"needs 480\.0 MB"):
        utd_raw._read(tmp_path / "a1_s1_t1_inertial.mat", "d_iner")


def wav(path: Path, rate: int, count: int = 1000) -> Path:
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + count, b"WAVE", b"fmt ", 16, 1, 1, rate, rate, 1, 8, b"data", count
    )
    path.write_bytes(head + bytes(range(128, 192)) * (count // 64))
    return path


@pytest.mark.parametrize("rate", [1, 999, 2_000_003, 2**31 - 1])
@pytest.mark.usefixtures("no_more")
def test_sound_at_a_rate_that_no_sound_has(rate: int, tmp_path: Path) -> None:
    with pytest.raises(Unusable, match=r"samples per second|cannot be decoded|no sound"):
        read_audio(wav(tmp_path / "a.wav", rate), 16000)


@pytest.mark.slow
def test_silence_of_hours_in_a_small_file(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "a.flac"), "w") as out:
        stream: Any = out.add_stream("flac", rate=48000)
        for _ in range(200):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.int16), format="s16", layout="mono")
            frame.sample_rate = 48000
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert (tmp_path / "a.flac").stat().st_size < 200_000
    with pytest.raises(Unusable, match=r"a\.flac: needs 67\.\d MB"):
        read_audio(tmp_path / "a.flac", 16000)


@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_a_picture_of_one_colour_that_is_huge(suffix: str, tmp_path: Path) -> None:
    import cv2

    path = tmp_path / f"a{suffix}"
    if suffix == ".png":
        cv2.imwrite(str(path), np.zeros((6000, 6000), np.uint8))
    else:
        path.write_bytes(b"GIF89a" + struct.pack("<HH", 16000, 16000) + b"\x80\x00\x00" + bytes(6) + b"\x2c"
                         + struct.pack("<HHHH", 0, 0, 1, 1) + b"\x00\x02\x02\x44\x01\x00\x3b")  # fmt: skip
    with pytest.raises(Unusable, match=r"needs (108|768)"):
        read_frames(path, [0.0], pad=True)


@pytest.mark.unprotected
def test_without_the_question_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless sizes are asked for first, 100 MB are filled by a file of 0.1 MB."""
    import torch

    monkeypatch.setattr(npz, "check_size", lambda *_, **__: None)
    monkeypatch.setattr("zipfile.ZipExtFile._update_crc", lambda *_: None)
    path = bomb(tmp_path / "a.npz", 100)
    reset_peak(torch.device("cpu"))
    before = peak_mib(torch.device("cpu"))
    read_arrays(path)
    assert peak_mib(torch.device("cpu")) - before > 80


@pytest.mark.unprotected
def test_without_the_bound_on_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless depth is bounded, an experiment of 40 kB ends in a RecursionError."""
    monkeypatch.setattr(texts, "_bounded", lambda parse: parse())
    (tmp_path / "e.toml").write_text(TOMLS["lists"])
    with pytest.raises(RecursionError):
        read_experiment("e.toml")


HUGE = {
    "a count of seeds": ["--seeds", 5000 * "9"],
    "a seed": ["--seeds", f"1,{5000 * '9'}"],
    "a whole number": ["--set", f"epochs={5000 * '9'}"],
    "samples": ["--set", "dataset.train=1e15"],
    "more samples than numbers": ["--set", "dataset.train=1e18"],
    "a hidden width": ["--set", "model.width=1e18"],
    "brackets": ["--set", f"epochs={DEEP * '['}"],
}


@pytest.mark.parametrize("name", HUGE)
def test_huge_values_on_the_command_line(name: str) -> None:
    done = CliRunner().invoke(app, ["run", "--methods", "joint", "--dataset", "synthetic", "--plan", *HUGE[name]])
    assert done.exit_code == 2, done.output
    assert re.search("too large|not allowed|too little memory", done.output)


@pytest.mark.parametrize("content", [10**5 * "-" + "1", 10**5 * "(", "1" + 10**5 * "+1", f"'{10**6 * 'a'}' * 10**13"])
def test_a_file_of_code_that_is_nested_thousands_deep(content: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f"x = {content}\n")
    done = CliRunner().invoke(app, ["describe", "mine.py"])
    assert done.exit_code == 2, done.output
    assert "'mine.py' cannot be imported" in done.output
