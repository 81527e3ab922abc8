"""Generated folders: outdated files of one's own go, anything else stays."""

import errno
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mcr_bench.bench.commands.written import forget_outdated, list_of, writing
from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.errors import UserError
from mcr_bench.cli import app


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


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, 1), (errno.EDQUOT, 1), (errno.EACCES, 2), (errno.EISDIR, 2)]
)
def test_a_full_disk_is_no_wrong_usage(tmp_path: Path, number: int, code: int) -> None:
    with pytest.raises(UserError, match="cannot write") as raised, writing(tmp_path, "--output"):
        raise OSError(number, "told by the system", str(tmp_path))
    assert raised.value.exit_code == code


@pytest.mark.parametrize("words", [["--margin", "3"], ["--published", "mine"], ["--dataset", "synthetic"]])
def test_options_of_the_other_tables_are_refused_with_paper(words: list[str]) -> None:
    done = CliRunner().invoke(app, ["tables", "--paper", *words])
    assert done.exit_code == 2
    assert "--margin and --published belong to the tables without --paper" in done.output
