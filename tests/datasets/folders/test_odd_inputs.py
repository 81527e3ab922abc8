"""Inputs as other programs write them are read with their numbers, or refused by a sentence: gaps, names, types."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.arrays import Arrays
from mcr_bench.datasets.folders.arrow import array_of_column
from mcr_bench.datasets.folders.content import digest_of, read_folder
from mcr_bench.datasets.folders.lists import array_of
from mcr_bench.datasets.folders.written import to_arrays
from mcr_bench.tests.support.inputs.array_folders import (
    COUNT,
    SPLIT,
    VOICE,
    Y,
    described,
    write_csv,
    write_jsonl,
    write_parquet,
    write_pt,
)


def test_a_chunk_of_parquet_in_which_every_list_is_missing() -> None:
    """A large file is read in chunks, and one of them may hold gaps alone."""
    lists = pa.chunked_array([[[1.0, 2.0]], [None]], pa.list_(pa.float64()))
    np.testing.assert_array_equal(array_of_column("", lists), [[1, 2], [np.nan, np.nan]])  # type: ignore[arg-type]
    nested = pa.chunked_array([[[[1, 2]]], [[None]], [[[3, 4]]]], pa.list_(pa.list_(pa.int64())))
    np.testing.assert_array_equal(array_of_column("", nested), [[[1, 2]], [[np.nan] * 2], [[3, 4]]])  # type: ignore[arg-type]
    with pytest.raises(UserError, match="inner lists differ in length"):
        array_of_column("", pa.chunked_array([[[[1.0]]], [[[1.0, 2.0]]]], pa.list_(pa.list_(pa.float64()))))


def test_null_in_a_list_of_json_is_a_missing_number_as_in_parquet() -> None:
    np.testing.assert_array_equal(array_of("", [[1, None], [2.5, 3]]), [[1, np.nan], [2.5, 3]])  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(pa, "string_view"), reason="this version of Arrow has no such texts")
def test_texts_of_parquet_as_polars_writes_them(tmp_path: Path) -> None:
    folder = write_parquet(tmp_path)
    table = pq.read_table(folder / "all.parquet")
    at = table.schema.names.index("split")
    texts = table.column("split").cast(pa.string_view())
    pq.write_table(table.set_column(at, "split", texts), folder / "all.parquet")
    assert Arrays(folder)._table.part.tolist() == SPLIT.tolist()


def test_a_table_with_empty_first_lines_and_names_of_several_lines(tmp_path: Path) -> None:
    path = write_csv(tmp_path) / "all.csv"
    names, rest = path.read_text().split("\n", 1)
    path.write_text("\n\n" + names.replace(",", " , ") + "\n" + rest)
    np.testing.assert_allclose(Arrays(tmp_path)._table.values["voice"], VOICE)
    path.write_text(f'{names},"two\nlines"\n' + "".join(f"{row},1\n" for row in rest.splitlines()))
    np.testing.assert_allclose(Arrays(tmp_path)._table.values["voice"], VOICE)


def gap(column: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = write_jsonl(folder) / "all.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        text = (folder / "dataset.toml").read_text().replace('group = "group"', f'{column} = "own"')
        for number, row in enumerate(rows):
            row["own"] = None if number == 4 else number
        path.write_text("\n".join(map(json.dumps, rows)))
        return described(folder, text)

    return write


def no_number(folder: Path) -> Path:
    path = write_csv(folder) / "all.csv"
    path.write_text(path.read_text().replace(str(VOICE[2, 1]), "NA"))
    return folder


def tensor(make: Callable[[], torch.Tensor]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = write_pt(folder) / "all.pt"
        torch.save({**torch.load(path), "voice": make()}, path)
        return folder

    return write


def blank(folder: Path) -> Path:
    (write_jsonl(folder) / "all.jsonl").write_text(" \n")
    return folder


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a missing group": (gap("group"), "'group' (all.jsonl:own) is missing ('nan') at row 4. Give each of these"),
    "a missing id": (gap("id"), "'id' (all.jsonl:own) is missing ('nan') at row 4"),
    "a cell that is no number": (no_number, "'all.csv:v1' in a list of columns holds text: 'NA' at row 2. Write a"),
    "a nested tensor": (
        tensor(lambda: torch.nested.nested_tensor([torch.ones(1)] * 9)),
        "'voice' is a nested tensor. Save",
    ),
    "halves of complex numbers": (
        tensor(lambda: torch.ones(COUNT, 2, dtype=torch.complex32)),
        "It is complex: np.stack",
    ),
    "no line": (blank, "all.jsonl' has no line. Write an object per sample"),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors", "ignore:ComplexHalf support")
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str, tmp_path: Path) -> None:
    write, says = REFUSED[case]
    with pytest.raises(UserError) as caught:
        Arrays(write(tmp_path)).facts()
    assert says in str(caught.value)


def test_paths_in_full_are_those_of_the_folder_wherever_it_is_seen_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    folder = described(
        tmp_path / "mine",
        f'file = "{tmp_path}/mine/all.csv"\nlabel = "y"\nsplit = "split"\n'
        'modalities.face = { image = "f", size = 2 }\n',
    )
    Image.new("RGB", (2, 2), (9, 8, 7)).save(folder / "a.png")
    rows = [f"{y},{part},{folder}/a.png" for y, part in zip(Y, SPLIT, strict=True)]
    (folder / "all.csv").write_text("\n".join(["y,split,f", *rows]))
    os.symlink(folder, tmp_path / "link")
    monkeypatch.chdir(tmp_path)
    seen = [read_folder(one) for one in (folder, Path("mine"), tmp_path / "link")]
    assert {one.files for one in seen} == {("dataset.toml", "all.csv", *["a.png"] * COUNT)}
    assert len({digest_of(folder, one) for one in seen}) == 1
    assert seen[1].arrays["x_face"][3, :, 0, 0].tolist() == [9, 8, 7]


def parts(sample: Callable[[int], Any]) -> dict[str, list[Any]]:
    return {part: [sample(number) for number in range(3)] for part in ("train", "val", "test")}


def written(sample: Callable[[int], Any], folder: Path, **options: Any) -> Any:
    return read_folder(to_arrays(parts(sample), folder, **options)).arrays


def test_a_list_of_numbers_is_one_input_of_a_sample(tmp_path: Path) -> None:
    vectors = written(lambda n: ([0.5, n], n % 2), tmp_path / "a")
    assert vectors["x_m1"][:3].tolist() == [[0.5, 0], [0.5, 1], [0.5, 2]]
    ids = written(lambda n: ([7] * (n + 1), n % 2), tmp_path / "b")
    assert ids["x_m1"][:3].tolist() == [[7, 0, 0], [7, 7, 0], [7, 7, 7]]
    assert ids["length_m1"][:3].tolist() == [1, 2, 3]


def test_tensors_and_images_of_other_types_keep_their_numbers(tmp_path: Path) -> None:
    from PIL import Image

    half = torch.tensor([1.5, 2], dtype=torch.bfloat16, requires_grad=True)
    grey = Image.fromarray(np.full((2, 3), 40_000, np.uint16))
    arrays = written(
        lambda n: {"a": [half, half], "b": grey, "c": half.detach().to(torch.float8_e5m2), "y": n % 2}, tmp_path / "a"
    )
    assert arrays["x_a"][0].tolist() == [[1.5, 2]] * 2
    assert arrays["x_b"].shape == (9, 1, 2, 3)
    assert arrays["x_b"].min() == 40_000
    assert arrays["x_c"][0].tolist() == [1.5, 2]


ONE = torch.ones(2)
SAMPLES: dict[str, tuple[Callable[[int], Any], dict[str, Any], str]] = {
    "an entry of later samples": (
        lambda n: {"a": ONE, "y": 0, **({"b": ONE} if n else {})},
        {},
        "sample 1 has 'b', and sample 0 has not",
    ),
    "two labels": (lambda _: {"a": ONE, "y": 0, "label": 1}, {}, 'has y and label. Name the label: label="y"'),
    "one name twice": (lambda _: (ONE, ONE, 0), {"names": ["a", "a", "label"]}, "two are equal"),
    "a sparse tensor": (lambda _: {"a": ONE.to_sparse(), "y": 0}, {}, "Save x.to_dense() of real data"),
}


@pytest.mark.parametrize("case", SAMPLES)
def test_samples_of_which_something_would_be_lost(case: str, tmp_path: Path) -> None:
    sample, options, says = SAMPLES[case]
    with pytest.raises(UserError) as caught:
        written(sample, tmp_path / "a", **options)
    assert says in str(caught.value)
    assert not (tmp_path / "a").exists()


def test_what_has_no_samples(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="of type int, which has no samples"):
        to_arrays(5, tmp_path / "a")
    with pytest.raises(UserError, match=r"a DataLoader gives batches.*loader.dataset"):
        to_arrays({"train": DataLoader([(ONE, 0)])}, tmp_path / "a")  # type: ignore[arg-type]


def test_a_byte_order_mark_before_the_toml_is_no_error(tmp_path: Path) -> None:
    """Notepad writes one, and lists with one are read."""
    folder = to_arrays(parts(lambda n: ([0.5, n], n % 2)), tmp_path / "mine")
    plain = read_folder(folder).arrays["x_m1"]
    file = folder / "dataset.toml"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert np.array_equal(read_folder(folder).arrays["x_m1"], plain)
