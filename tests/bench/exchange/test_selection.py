"""Which runs a dataset means in `forget`, `export` and `submit`: a name, or the file that runs were given."""

from pathlib import Path

import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.exchange.selection import Selection
from mcr_bench.bench.record.runs import StoredRun


def stored(run_id: str, dataset: str, source: str, fingerprint: str) -> StoredRun:
    tags = {"key": run_id, "method": "joint", "dataset": dataset, "dataset_source": source, "fingerprint": fingerprint}
    return StoredRun(run_id, "FINISHED", 0, {}, {}, tags)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[StoredRun]:
    """Two files of one name with different data, one of them also by its whole path, and two datasets in a module."""
    monkeypatch.chdir(tmp_path)
    return [
        stored("one", "mine.npz", "one/mine.npz", "1"),
        stored("two", "mine.npz", "two/mine.npz", "2"),
        stored("also-one", "mine.npz", str(tmp_path / "one/mine.npz"), "1"),
        stored("copy", "mine.npz", "elsewhere/mine.npz", "1"),
        stored("own", "my-set", "sets/my_set.py:MySet", "3"),
        stored("digits", "av-digits", "av-digits", "4"),
        stored("folder", "clips", "data/clips", "5"),
        stored("other-folder", "clips", "more/clips", "6"),
    ]


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("one/mine.npz", ["one", "also-one", "copy"]),  # the copy has the same data
        ("./two/mine.npz", ["two"]),
        ("mine.npz", ["one", "two", "also-one", "copy"]),
        ("sets/my_set.py", ["own"]),
        ("sets/my_set.py:MySet", ["own"]),
        ("my-set", ["own"]),
        ("av-digits", ["digits"]),
        ("data/clips", ["folder"]),  # a folder with a dataset.toml
        ("clips", ["folder", "other-folder"]),
    ],
)
def test_a_file_means_the_runs_on_its_data(runs: list[StoredRun], asked: str, meant: list[str]) -> None:
    assert [run.run_id for run in Selection(datasets=[asked]).of(runs)] == meant


def test_a_whole_path_means_the_same_from_any_folder(runs: list[StoredRun], tmp_path: Path) -> None:
    meant = Selection(datasets=[str(tmp_path / "two/mine.npz"), "av-digits"]).of(runs)
    assert [run.run_id for run in meant] == ["two", "digits"]


def test_a_path_that_no_run_was_given_means_none(runs: list[StoredRun]) -> None:
    told = (
        r"no run was given 'no/mine.npz'; the runs on mine.npz were given .*one/mine.npz, two/mine.npz. Name one of "
        r"these, or mine.npz for all"
    )
    with pytest.raises(UserError, match=told):
        Selection(datasets=["no/mine.npz"]).of(runs)
    with pytest.raises(UserError, match=r"unknown dataset on record 'no/other.npz'"):
        Selection(datasets=["no/other.npz"]).of(runs)
