"""What stands under every table: split sizes, runs that are not finished; and which published tables are shown."""

from dataclasses import replace
from pathlib import Path

import pytest

from mcr_bench.bench.analysis.claims import claims
from mcr_bench.bench.analysis.comparisons import comparisons
from mcr_bench.bench.analysis.ranking import rank_datasets, rank_table
from mcr_bench.bench.analysis.sizes import split_sizes
from mcr_bench.bench.analysis.sweeps import sweep_table, sweeps
from mcr_bench.bench.analysis.table import Table, comparison_table
from mcr_bench.bench.commands.output import nothing_in
from mcr_bench.bench.commands.reading import finished_comparisons
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.report.claim_tables import claim_tables
from mcr_bench.bench.report.published_table import published_tables
from mcr_bench.tests.support.records import published_paper
from mcr_bench.tests.support.records.claimed_runs import run
from mcr_bench.tests.support.records.published_paper import NEAR, runs
from mcr_bench.tests.support.records.run_rows import run_row

folder = published_paper.folder  # a fixture
SIZES = "split sizes: training 80, validation 7, test 20"


def rows(**changes: object) -> list[RunRow]:
    tags, metrics = {"data_identity": str(changes)}, {"data/val_samples": 7.0}
    return [
        run(method, seed, value + seed / 100, tags=tags, metrics=metrics, **changes)
        for method, value in (("ensemble", 0.5), ("joint", 0.6), ("mcr", 0.7))
        for seed in range(3)
    ]


def test_split_sizes_stand_under_every_table() -> None:
    swept = [row for dial in ("1", "2") for row in rows(params={"dataset.dial": dial})]
    found = comparisons(rows(), "joint")
    tables = [comparison_table(found[0], "joint"), *claim_tables(claims(found[0], "ensemble"))]
    tables += [sweep_table(sweep, "ensemble") for sweep in sweeps(comparisons(swept, "joint"))]
    assert [SIZES in table.notes for table in tables] == [True] * 5
    ranked = rank_table(rank_datasets(found))
    assert any(note.endswith(SIZES) for note in ranked.notes)


def test_sizes_of_several_folds_are_several_and_many_are_counted() -> None:
    bare = run_row()
    sized = [replace(bare, samples={"train": 10 + n, "test": 2}) for n in (0, 0, *range(9))]
    told = split_sizes(sized)
    assert told[0] == "training 10, test 2"
    assert told[-1] == "and 3 more"
    assert split_sizes([bare]) == []


def test_runs_that_were_stopped_or_are_going_are_named() -> None:
    made = [run("joint", seed, 0.5) for seed in range(2)]
    made += [run("joint", seed, 0.0, status=status) for seed, status in ((1, "killed"), (2, "killed"), (3, "running"))]
    (found,) = comparisons(made, "joint")
    told = [note for note in comparison_table(found, "joint").notes if note.startswith("not finished")]
    assert told == ["not finished: joint, seed 2: killed", "not finished: joint, seed 3: running"]


def test_a_dataset_without_a_finished_run_is_said_and_the_others_stay(capsys: pytest.CaptureFixture[str]) -> None:
    bad = [run("joint", 0, 0.0, dataset="bad", status="failed", tags={"failure": "ValueError: x y"})]
    odd = [replace(run("joint", 0, 0.5, dataset="odd"), started=None), run("joint", 1, 0.5, dataset="odd")]
    found = finished_comparisons([*bad, *odd, *rows()], "joint")
    assert [one.dataset for one in found] == ["toy.npz"]
    second, first = capsys.readouterr().err.splitlines()
    assert first.startswith("left out: bad · ")
    assert first.endswith("no finished run with a value; 1 failed: ValueError: x y")
    assert second.startswith("left out: odd: TypeError: ")


class Failed:
    """A record in which nothing has finished."""

    address = "here"

    def rows(self) -> list[RunRow]:
        return [run("joint", 0, 0.0, status="failed"), run("joint", 1, 0.0, status="killed")]


def test_a_record_of_failed_runs_is_not_called_empty() -> None:
    assert "holds no finished run (1 failed, 1 killed)" in nothing_in(Failed())  # type: ignore[arg-type]


def titles(tables: list[Table]) -> list[str]:
    return [table.title for table in tables]


def test_published_tables_of_mine_are_those_with_a_column_on_my_data(folder: Path) -> None:
    assert titles(published_tables([], datasets={"elsewhere"}, folder=folder)) == titles(
        published_tables([], folder=folder)
    )
    assert published_tables([], datasets={"toy.npz"}, folder=folder) == []
    assert published_tables([], datasets=set(), folder=folder) == []
    shipped, mine = titles(published_tables([])), titles(published_tables([], datasets={"mosi"}))
    assert set(mine) < set(shipped)
    assert mine


def test_published_tables_with_runs_come_first(folder: Path) -> None:
    for suffix, renamed in ((".csv", "Paper,"), (".toml", 'title = "Paper')):
        file = next(path for path in sorted(folder.iterdir()) if path.suffix == suffix)
        text = file.read_text().replace(renamed, renamed.replace("Paper", "Another"))
        (folder / f"aaa{suffix}").write_text(text.replace('dataset = "elsewhere"', 'dataset = "lost"'))
    assert titles(published_tables([], folder=folder))[0].startswith("Another")
    ours = [replace(row, samples={"test": 9}) for row in runs(*NEAR)]
    made = published_tables(ours, folder=folder)
    assert made[0].title.startswith("Paper")
    assert "split sizes of our runs, Set Net: test 9" in made[0].notes
