"""Every bad folder is refused by one sentence that names the file, what is wrong with it, and the remedy."""

import json
import pickle
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.arrays import Arrays
from mcr_bench.tests.support.inputs.array_folders import (
    SPLIT,
    VOICE,
    described,
    write_csv,
    write_jsonl,
    write_npy,
    write_parquet,
    write_pt,
)
from mcr_bench.tests.support.inputs.packed import header, inflating, write_zip


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        Arrays(folder).fingerprint()
    assert str(folder) in str(caught.value)
    return str(caught.value)


def test_the_folder_as_it_is_written_is_good(tmp_path: Path) -> None:
    for number, write in enumerate((write_npy, write_pt, write_parquet, write_csv, write_jsonl)):
        Arrays(write(tmp_path / str(number))).facts()


# What is replaced in the dataset.toml of the CSV table, by what, and what the error says.
TOMLS: dict[str, tuple[str, str, str]] = {
    "an unknown key": ('split = "split"', 'splits = "split"', "unknown key 'splits'. Did you mean split"),
    "no label": ('label = "y"', "", "does not state label. Needed: modalities, label, split"),
    "no modality": ("[modalities]", "[modalities]\n[other]", "unknown key 'other'"),
    "an empty table": ('voice = ["v0", "v1", "v2", "v3"]\nface = "face.npy"', "", "modalities is empty. Name one"),
    "a missing column": ('"y"', '"emotion"', "unknown key or column of all.csv 'emotion'"),
    "a column near another": ('"v3"', '"w3"', "unknown key or column of all.csv 'w3'. Known: group, split, v0"),
    "a number": ('"y"', "3", "label is 3. Give a text in quotes"),
    "an empty list": ('["v0", "v1", "v2", "v3"]', "[]", "modalities.voice is an empty list"),
    "no kind": ('"face.npy"', "{ size = 3 }", "modalities.face has size. Give one of array, image, video, sound"),
    "two kinds": ('"face.npy"', '{ image = "v0", sound = "v1" }', "has image and sound. Give one of"),
    "a setting of another kind": ('"face.npy"', '{ image = "group", rate = 3 }', "unknown key 'rate'"),
    "a large setting": (
        '"face.npy"',
        '{ image = "group", size = 9999 }',
        "face.size = 9999 is not allowed. Give a whole",
    ),
    "a text as setting": ('"face.npy"', '{ sound = "group", seconds = "3" }', "seconds = '3' is not allowed"),
    "media of two columns": ('"face.npy"', '{ image = ["v0", "v1"] }', "image is a list. Name the one column"),
    "media of numbers": ('"face.npy"', '{ image = "v0" }', "'v0', row 0: "),
    "a missing picture": ('"face.npy"', '{ image = "group" }', "'group', row 0: "),
    "a missing file": ("face.npy", "faces.npy", "faces.npy' does not exist. Correct the name"),
    "another folder": ("face.npy", "../face.npy", "'../face.npy' leads out of the folder"),
    "an absolute path": ("face.npy", "/etc/face.npy", "'/etc/face.npy' leads out of the folder"),
    "an impossible name": ("face.npy", "a\\u0000.npy", "cannot be the name of a file"),
    "another format": ("face.npy", "face.mat", "unknown key or column of all.csv 'face.mat'"),
    "no main file": ('file = "all.csv"', "", "modalities.voice is 'v0', which is not a file that is read (.npy"),
    "a main file of another format": ("all.csv", "all.xlsx", "all.xlsx' does not exist"),
    "a list as main file": ('"all.csv"', "[]", "file is []. Give the name of one file"),
    "a key of a single array": (
        "face.npy",
        "face.npy:a",
        "'face.npy:a': the file holds one array. Name the file alone",
    ),
    "a table without a key": ("face.npy", "all.csv", "'all.csv': the file has several arrays: y, split, group, v0"),
    "names that are numbers": ("[modalities]", "class_names = [1]\n[modalities]", "class_names is [1]. Give a list"),
    "text in a list": ('"v3"', '"group"', "'all.csv:group' in a list of columns holds text: 'g0' at row 0"),
    "text as input": ('"face.npy"', '"group"', "'x_face' (all.csv:group) has dtype <U2"),
    "parts as groups": ('split = "split"', 'split = "group"', "'split' (all.csv:group) is 'g0' at row 0"),
    "ids that repeat": ('group = "group"', 'id = "group"', "id 'g0' occurs more than once (row 0, 1, 2)"),
    "a name torch uses": ("face =", "values =", "'values' cannot name a modality"),
    "broken TOML": ("[modalities]", "[modalities", "is not valid TOML"),
}


@pytest.mark.parametrize("case", TOMLS)
def test_a_bad_dataset_toml(case: str, tmp_path: Path) -> None:
    old, new, says = TOMLS[case]
    folder = write_csv(tmp_path)
    toml = (folder / "dataset.toml").read_text()
    assert old in toml
    assert says in refusal(described(folder, toml.replace(old, new, 1)))


def npy(array: object) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / "face.npy", array, allow_pickle=True)  # type: ignore[arg-type]


def raw(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def edited(name: str, old: str, new: str) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return edit


def wide(columns: int, version: tuple[int, int]) -> bytes:
    """A file of a table of 30 rows and many columns."""
    file = BytesIO()
    np.lib.format.write_array(file, np.zeros(30, [(f"column {i}", "f4") for i in range(columns)]), version=version)
    return file.getvalue()


def link(folder: Path) -> None:
    (folder / "face.npy").unlink()
    (folder / "face.npy").symlink_to("/etc/hostname")


SEMICOLONS = "is separated by semicolons. Save it with commas: pd.read_csv(..., sep=';').to_csv(..., index=False)."
LONG = "has a header of 214,964 bytes, and NumPy reads at most 10,000. A table of many columns has such a header: save"
FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "lengths that differ": (
        npy(np.zeros((29, 2))),
        "'x_face' (face.npy) has shape (29, 2), but 'y' (all.csv:y) has 30 rows",
    ),
    "objects": (npy(np.array([[1], [2, 3]] * 15, object)), "face.npy' is an array of Python objects, which is never"),
    "NaN": (
        npy(np.where(np.arange(30) == 4, np.nan, 1.0)),
        "'x_face' (face.npy) is NaN or infinite (float32) at row 4",
    ),
    "dates": (npy(np.arange(30).astype("M8[D]")), "has dtype datetime64[D]"),
    "truncated": (raw("face.npy", header((30, 99)) + bytes(9)), "face.npy' cannot be read (it is too short"),
    "a size beyond all": (raw("face.npy", header((30, 10**12)) + bytes(9)), "face.npy' cannot be read"),
    "a long header": (raw("face.npy", wide(9000, (2, 0))), f"face.npy' {LONG}"),
    "empty": (raw("face.npy", b""), "face.npy' is empty. Copy it again"),
    "another format": (raw("face.npy", b"hello"), "face.npy' is not an array of NumPy. Save it with numpy.save"),
    "a pointer": (raw("face.npy", b"version https://git-lfs.github.com"), "is a git-LFS pointer"),
    "a web page": (raw("all.csv", b"<!DOCTYPE html>"), "It is a web page"),
    "a link": (link, "'face.npy' leads out of the folder"),
    "semicolons": (raw("all.csv", b"y;split\n0;train\n"), SEMICOLONS),
    "a short row": (
        edited("all.csv", "1,train,g0", "1,train"),
        "all.csv' cannot be read as CSV (CSV parse error: Row #3: Expected 7",
    ),
    "another encoding": (raw("all.csv", b"y,split\n\xff,train\n"), "cannot be read as CSV"),
    "a column twice": (edited("all.csv", "v2,v3", "v2,v3,v2"), "cannot be read as CSV"),
    "an empty label": (edited("all.csv", "1,train,g0", ",train,g0"), "'y' (all.csv:y) is NaN or infinite at row 1"),
    "an empty number": (edited("all.csv", "1,train,g0,", "1,train,g0,,"), "CSV parse error"),
    "a word among numbers": (edited("all.csv", "0.12573022", "0.12573022x"), "holds text: '0.12573022x' at row 0"),
    "an unknown part": (edited("all.csv", "1,train", "1,eval"), "'split' (all.csv:split) is 'eval' at row 1. Allowed"),
    "no row": (raw("all.csv", b"y,split,group,v0,v1,v2,v3\n"), "'y' (all.csv:y) has shape (0,)"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_bad_file_of_a_table_and_an_array(case: str, tmp_path: Path) -> None:
    spoil, says = FILES[case]
    spoil(write_csv(tmp_path))
    assert says in refusal(tmp_path).replace("\n", " ")


def test_characters_that_do_not_exist(tmp_path: Path) -> None:
    path = write_npy(tmp_path) / "split.npy"
    damaged = SPLIT.copy()
    damaged.view("u4")[3] = 2**31
    np.save(path, damaged)
    assert "split.npy' cannot be read (text with characters that do not exist): it is damaged" in refusal(tmp_path)
    np.savez(tmp_path / "mine.npz", x_a=VOICE, y=np.arange(30) % 2, split=damaged)
    assert "'split' cannot be read (text with characters that do not exist)" in refusal(tmp_path / "mine.npz")


def test_a_long_header_in_an_npz_is_no_damage_and_pickles_are_not_recommended(tmp_path: Path) -> None:
    for columns, version, told in ((9000, (2, 0), LONG), (900, (1, 0), "has a header of 20,")):
        np.savez(tmp_path / "mine.npz", y=np.arange(30) % 2, split=SPLIT)
        with zipfile.ZipFile(tmp_path / "mine.npz", "a") as packed:
            packed.writestr("x_a.npy", wide(columns, version))
        said = refusal(tmp_path / "mine.npz")
        assert f"'x_a' {told}" in said
    assert "np.stack([x[c] for c in x.dtype.names], 1)." in said
    assert "pickle" not in said
    assert "damaged" not in said


def test_a_header_that_states_more_than_the_file_holds_is_damage(tmp_path: Path) -> None:
    whole = header((30, 2))
    (write_npy(tmp_path) / "face.npy").write_bytes(whole[:8] + (60_000).to_bytes(2, "little") + whole[10:])
    assert "it is damaged" in refusal(tmp_path)


def test_an_empty_part(tmp_path: Path) -> None:
    folder = write_npy(tmp_path)
    np.save(folder / "split.npy", np.where(SPLIT == "test", "val", SPLIT))
    assert "the test split is empty. Assign samples to it" in refusal(folder)


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return open, ("/tmp/never_written", "w")


TENSORS: dict[str, tuple[object, str]] = {
    "an object": ({"voice": Evil()}, "holds Python objects that are not plain tensors, which are never unpickled"),
    "a module": (torch.nn.Linear(2, 2), "holds Python objects that are not plain tensors"),
    "a list": ([torch.zeros(3)], "holds a list; allowed: a tensor, or a dict of them"),
    "keys of numbers": ({1: torch.zeros(3)}, "is a dict with keys that are not text"),
    "a number": ({"voice": 3}, "'voice' is a int; allowed: a tensor, or a list"),
    "a sparse tensor": ({"voice": torch.eye(30).to_sparse()}, "is a sparse, quantized or meta tensor"),
    "a mixed list": ({"voice": ["a", 1]}, "holds values of type int, str; allowed"),
    "complex": ({"voice": torch.zeros(30, dtype=torch.complex64)}, "It is complex"),
    "an expanded tensor": ({"voice": torch.zeros(1).expand(30, 10**11)}, "of memory, but a file may take"),
}


@pytest.mark.parametrize("case", TENSORS)
def test_a_bad_file_of_torch(case: str, tmp_path: Path) -> None:
    content, says = TENSORS[case]
    folder = write_pt(tmp_path)
    if isinstance(content, dict) and "voice" in content:
        content = {**torch.load(folder / "all.pt"), **content}
    torch.save(content, folder / "all.pt")
    assert says in refusal(folder)


def test_files_of_torch_that_are_not_whole(tmp_path: Path) -> None:
    path = write_pt(tmp_path) / "all.pt"
    whole = path.read_bytes()
    path.write_bytes(pickle.dumps({"voice": 1}))
    assert "is not a file of torch since version 1.6, or it is truncated" in refusal(tmp_path)
    path.write_bytes(whole[: len(whole) // 2])
    assert "or it is truncated" in refusal(tmp_path)
    path.write_bytes(whole.replace(b"ctorch", b"ctorhc"))
    assert str(path) in refusal(tmp_path)
    write_zip(path, [inflating("all/data.pkl", b"", 4000)])
    assert "of memory, but a file may take" in refusal(tmp_path)


COLUMNS: dict[str, tuple[pa.Array, str]] = {
    "lists of several lengths": (pa.array([[1.0]] * 29 + [[1.0, 2.0]]), "has 1 numbers in one list and 2 in list 29"),
    "steps of several widths": (pa.array([[[1.0]]] * 29 + [[[1.0, 2.0]]]), "inner lists differ in length"),
    "sequences of several widths": (
        pa.array([[[1.0]], [[1.0], [2.0]], *[[[1.0] * 3]] * 28]),
        "inner lists differ in length",
    ),
    "records": (pa.array([{"a": 1}] * 30), "holds struct<a: int64>; allowed: numbers, texts, or lists"),
    "times": (pa.array(np.arange(30).astype("M8[ms]")), "holds timestamp[ms]; allowed"),
    "a gap": (
        pa.array([None, *VOICE[1:].tolist()]),
        "'x_voice' (all.parquet:voice) is NaN or infinite (float32) at row 0",
    ),
    "lists of texts": (pa.array([["a"]] * 30), "holds list<"),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_a_bad_column_of_parquet(case: str, tmp_path: Path) -> None:
    column, says = COLUMNS[case]
    path = write_parquet(tmp_path) / "all.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.schema.names.index("voice"), "voice", column), path)
    assert says in refusal(tmp_path)


def test_files_of_parquet_that_are_damaged_or_hold_more_than_they_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_parquet(tmp_path) / "all.parquet"
    whole = path.read_bytes()
    name = whole.rindex(b"list", 0, whole.rindex(b"element"))
    spoilt = whole[:name] + b"\xff" + whole[name + 1 :]
    for content in (whole[:-40], whole[: len(whole) // 2], b"PAR1" + bytes(99), spoilt):
        path.write_bytes(content)
        assert "cannot be read as Parquet" in refusal(tmp_path)
    monkeypatch.setenv("MCR_BENCH_FILE_MEMORY", "20MB")
    count = 3_000_000
    pq.write_table(pa.table({"y": np.zeros(count, np.int8), "split": ["x" * 9] * count}), path)
    toml = 'file = "all.parquet"\nlabel = "y"\nsplit = "split"\nmodalities = { a = "y" }\n'
    assert path.stat().st_size < 100_000
    assert "of memory, but a file may take" in refusal(described(tmp_path, toml))
    pq.write_table(pa.table({"y": np.zeros(30, np.int8), "split": ["x"] * 29 + ["x" * 10**6]}), path)
    assert "'split' needs 120" in refusal(tmp_path)


LINES: dict[str, tuple[str, str]] = {
    "not JSON": ("{", "line 2 is not JSON"),
    "a list": ("[1]", "line 2 is not an object"),
    "nested": ("[" * 99 + "]" * 99, "line 2 is not JSON (nested deeper than 64 levels)"),
    "text among lists": (json.dumps({"voice": "a"}), "'voice' holds values of type list, str; allowed"),
    "a shorter list": (json.dumps({"voice": [1.0]}), "has 4 numbers in one list and 1 in list 1"),
    "lists of lists of several lengths": (
        json.dumps({"face": [[1.0, 2.0]] * 4 + [[1.0]]}),
        "inner lists differ in length",
    ),
    "a missing key": ("{}", "'voice' is empty"),
}


@pytest.mark.parametrize("case", LINES)
def test_a_bad_line_of_json(case: str, tmp_path: Path) -> None:
    line, says = LINES[case]
    path = write_jsonl(tmp_path) / "all.jsonl"
    lines = path.read_text().split("\n")
    whole = json.loads(lines[1])
    lines[1] = json.dumps(whole | json.loads(line)) if line.startswith('{"') else line
    path.write_text("\n".join(lines))
    text = refusal(tmp_path)
    if case == "a missing key":
        says = "is NaN or infinite"
    assert says in text


def test_one_long_text_among_many_is_not_spread_over_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_jsonl(tmp_path) / "all.jsonl"
    path.write_text(path.read_text().replace('"g0"', f'"{"g" * 100_000}"'))
    monkeypatch.setenv("MCR_BENCH_FILE_MEMORY", "10MB")
    assert "all.jsonl': 'group' needs 12.0 MB of memory" in refusal(tmp_path)


def test_all_files_count_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_npy(tmp_path)
    monkeypatch.setenv("MCR_BENCH_FILE_MEMORY", "2KB")
    assert "of memory, but a file may take 2.0 kB (as MCR_BENCH_FILE_MEMORY says" in refusal(folder)
