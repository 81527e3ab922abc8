"""Lists of several lengths: ids of words and steps of numbers are read as padded arrays with their lengths are."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.arrays import Arrays
from mcr_bench.datasets.folders.samples import stacked
from mcr_bench.tests.support.inputs.array_folders import COUNT, SPLIT, Y, described

LENGTHS = np.arange(COUNT) % 5 + 1
WORDS = [[10 * row + step + 1 for step in range(n)] for row, n in enumerate(LENGTHS)]
STEPS = [[[row + step / 8, -step] for step in range(n)] for row, n in enumerate(LENGTHS[::-1])]
TOML = 'file = "all.{}"\nlabel = "y"\nsplit = "split"\n[modalities]\ntext = "text"\npulse = "pulse"\n'
Rows = dict[str, list[object]]


def rows(**other: list[object]) -> Rows:
    """The columns of a folder."""
    return {"y": Y.tolist(), "split": SPLIT.tolist(), "text": list(WORDS), "pulse": list(STEPS)} | other


def as_jsonl(folder: Path, columns: Rows, toml: str = TOML) -> Path:
    lines = [json.dumps(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
    described(folder, toml.format("jsonl")).joinpath("all.jsonl").write_text("\n".join(lines))
    return folder


def as_parquet(folder: Path, columns: Rows, toml: str = TOML) -> Path:
    table = pa.table({key: pa.array(values) for key, values in columns.items()})
    pq.write_table(table, described(folder, toml.format("parquet")) / "all.parquet", row_group_size=7)
    return folder


def as_large_lists(folder: Path, columns: Rows, toml: str = TOML) -> Path:
    kinds = {"text": pa.large_list(pa.int32()), "pulse": pa.large_list(pa.list_(pa.float64(), 2))}
    table = pa.table({key: pa.array(values, kinds.get(key)) for key, values in columns.items()})
    pq.write_table(table, described(folder, toml.format("parquet")) / "all.parquet")
    return folder


def as_pt(folder: Path, columns: Rows, toml: str = TOML) -> Path:
    lists = {key: [torch.tensor(one) for one in columns[key]] for key in ("text", "pulse")}
    torch.save(columns | lists, described(folder, toml.format("pt")) / "all.pt")
    return folder


def as_npz(path: Path) -> Path:
    text, pulse = np.zeros((COUNT, 5), int), np.zeros((COUNT, 5, 2))
    for row in range(COUNT):
        text[row, : len(WORDS[row])], pulse[row, : len(STEPS[row])] = WORDS[row], STEPS[row]
    lengths = {"length_text": LENGTHS, "length_pulse": LENGTHS[::-1]}
    np.savez(path, x_text=text, x_pulse=pulse, y=Y, split=SPLIT, **lengths)
    return path


@pytest.mark.parametrize("write", [as_jsonl, as_parquet, as_large_lists, as_pt])
def test_lists_of_several_lengths_are_the_padded_arrays(write: Callable[[Path, Rows], Path], tmp_path: Path) -> None:
    one, other = Arrays(as_npz(tmp_path / "mine.npz")), Arrays(write(tmp_path / "mine", rows()))
    assert one.facts() == other.facts()
    assert one.facts().modalities["text"].vocabulary == max(map(max, WORDS)) + 1
    first, second = (data.load("file", 1, 0, ("text", "pulse")) for data in (one, other))
    for here, there in ((first.train, second.train), (first.test, second.test)):
        for m in ("text", "pulse"):
            assert torch.equal(here.values[m], there.values[m])
            assert torch.equal(here.lengths[m], there.lengths[m])


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        Arrays(folder).facts()
    return str(error.value)


def test_a_sample_without_a_list_is_absent_or_an_error(tmp_path: Path) -> None:
    gap: list[object] = [None, [], *WORDS[2:]]
    toml = TOML.replace('"text"\n', '{{ array = "text", present = "has" }}\n')
    for write in (as_jsonl, as_parquet):
        told = refusal(write(tmp_path / "error", rows(text=gap)))
        assert "'length_text' (the lengths of all." in told
        assert "absent by `present`) is 0 at row" in told
        folder = write(tmp_path / "absent", rows(text=gap, has=[0, 0, *[1] * (COUNT - 2)]), toml)
        train = Arrays(folder).load("file", 1, 0, ("text", "pulse")).train
        assert train.present["text"][:3].tolist() == [False, False, True]


def test_only_modalities_may_have_lists_of_several_lengths(tmp_path: Path) -> None:
    says = "'all.jsonl:y' holds lists of several lengths. Only an array modality may."
    assert says in refusal(as_jsonl(tmp_path / "label", rows(y=list(WORDS))))
    toml = TOML.replace('"text"\n', '{{ array = "text", length = "y" }}\n')
    assert "Their lengths are known: leave `length` out." in refusal(as_jsonl(tmp_path / "length", rows(), toml))


def test_one_long_list_among_many_is_refused_before_all_take_its_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCR_BENCH_FILE_MEMORY", "20MB")
    folder = as_jsonl(tmp_path, rows(text=[[1] * 200_000, *WORDS[1:]]))
    assert "when padded to 200,000 steps" in refusal(folder)


WRONG: dict[str, tuple[list[object], str]] = {
    "numbers beside steps": ([[0.5, 0.7], [[0.5], [0.7]]], "of shape (2,) and, in list 1, of shape (2, 1)"),
    "numbers without a list": ([[1.5], [2.5, 3.5]], "has 1 numbers in one list and 2 in list 1"),
    "three axes": ([[[[1.0]]], [[[1.0]], [[2.0]]]], "has shape (1, 1, 1) in sample 0 and (2, 1, 1) in sample 1"),
    "three axes and none": ([[[[1.0]]], []], "has shape (1, 1, 1) in sample 0 and (0, 1, 1) in sample 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_lists_that_cannot_be_sequences(case: str, tmp_path: Path) -> None:
    first, says = WRONG[case]
    text = [*first, *[first[0]] * (COUNT - 2)]
    assert says in refusal(as_jsonl(tmp_path, rows(text=text)))


def test_a_number_that_is_missing_in_a_list_is_named(tmp_path: Path) -> None:
    gap: list[object] = [[1, None], *WORDS[1:]]
    assert "lacks a number in list 0" in refusal(as_parquet(tmp_path, rows(text=gap)))


def test_ids_beyond_all_are_named_and_no_floats(tmp_path: Path) -> None:
    assert "or 10,000,000 or more, at row 0" in refusal(as_jsonl(tmp_path, rows(text=[[2**63], *WORDS[1:]])))


def test_tensors_that_are_views_are_counted_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCR_BENCH_FILE_MEMORY", "20MB")
    folder = described(tmp_path, TOML.format("pt"))
    for text in ([torch.zeros(1).expand(10**9)] * COUNT, [torch.zeros(200_000)] * COUNT):
        torch.save(rows() | {"text": text}, folder / "all.pt")
        assert (folder / "all.pt").stat().st_size < 10**6
        assert "of memory, but a file may take" in refusal(folder)


def test_a_number_beside_a_list_is_no_sequence() -> None:
    with pytest.raises(UserError, match=r"'a' has shape \(\) in sample 0 and \(2,\) in sample 1"):
        stacked("a", [np.array(1.0), np.array([1.0, 2.0])])
