"""Generated folders: outdated files of one's own go, anything else stays."""

from pathlib import Path

import pytest

from mcr_bench.bench.commands.written import forget_outdated, list_of, writing
from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.errors import UserError


def files(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).write_text(name)
    return [folder / name for name in names]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_an_earlier_call_wrote_and_this_one_did_not_is_removed(tmp_path: Path) -> None:
    files(tmp_path, "mine.txt")
    assert forget_outdated(tmp_path, files(tmp_path, "a.md", "b.md"), everything=True) == []
    assert forget_outdated(tmp_path, files(tmp_path, "b.md", "c.md"), everything=True) == [tmp_path / "a.md"]
    assert names(tmp_path) == {"mine.txt", "b.md", "c.md"}


def test_a_call_for_a_part_outdates_nothing(tmp_path: Path) -> None:
    forget_outdated(tmp_path, files(tmp_path, "a.md"), everything=True)
    assert forget_outdated(tmp_path, files(tmp_path, "b.md"), everything=False) == []
    assert forget_outdated(tmp_path, files(tmp_path, "c.md"), everything=True) == [tmp_path / "a.md", tmp_path / "b.md"]


def test_a_list_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    inner = tmp_path / "tables"
    inner.mkdir()
    files(tmp_path, "precious")
    for content in ('["../precious", 3]', "{", '"precious"'):
        list_of(inner).write_text(content)
        forget_outdated(inner, [], everything=True)
    assert (tmp_path / "precious").exists()


@pytest.mark.parametrize(
    ("option", "remedy"), [("--output", "Give --output a place that"), ("", "Set MCR_BENCH_HOME to")]
)
def test_what_cannot_be_written_is_named_with_what_chose_it(tmp_path: Path, option: str, remedy: str) -> None:
    told = rf"cannot write '{tmp_path}' \(Is a directory\)\. {remedy}"
    with pytest.raises(UserError, match=told), writing(tmp_path, option):
        write_whole(tmp_path, "a table")
