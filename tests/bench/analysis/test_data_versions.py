"""Data that changed under one name: titles say which they are, files and ranks go with the newest."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mcr_bench.bench.analysis.claims import claims
from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.comparisons import comparisons
from mcr_bench.bench.analysis.ranking import rank_datasets
from mcr_bench.bench.analysis.table import comparison_table
from mcr_bench.bench.figures.catalog import Sources, all_figures
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.report.claim_tables import claim_tables, power_lines
from mcr_bench.bench.report.export import write_tables
from mcr_bench.tests.support.records.claimed_runs import run

MONDAY, TUESDAY = (datetime(2026, 3, day, 23, 30, tzinfo=UTC).timestamp() for day in (2, 3))
OLD, NEW = "0a1b2c3d4e5f", "ffeeddccbbaa"


def on(data: str, started: float, seeds: int = 3, **changes: Any) -> list[RunRow]:
    """Runs of the ensemble and joint on data of this fingerprint."""
    tags = {"fingerprint": data * 5, "data_identity": f"id of {data}"} | changes.pop("tags", {})
    return [
        run(method, seed, value + seed / 100, started=started + seed, tags=tags, **changes)
        for method, value in (("ensemble", 0.5), ("joint", 0.6))
        for seed in range(seeds)
    ]


def titles(found: list[Comparison]) -> list[str]:
    return [one.title.partition(" · preset ")[2] for one in found]


def test_each_says_fingerprint_day_and_age() -> None:
    found = comparisons(on(OLD, MONDAY) + on(NEW, TUESDAY), "joint")
    assert titles(found) == [
        "default · data 0a1b2c3d of 2026-03-02 (older)",
        "default · data ffeeddcc of 2026-03-03 (newest)",
    ]
    assert "newer data of this name are on record" in comparison_table(found[0], "joint").notes[0]
    assert "older data of this name are on record too" in comparison_table(found[1], "joint").notes[0]


def test_data_that_were_put_back_are_the_newest_again() -> None:
    rows = on(OLD, MONDAY) + on(NEW, TUESDAY) + on(OLD, TUESDAY + 3600, seeds=4)[3:4]
    assert [one.older for one in comparisons(rows, "joint")] == [False, True]


def test_one_version_is_not_told() -> None:
    found = comparisons(on(OLD, MONDAY) + on(OLD, TUESDAY, protocol="groups"), "joint")
    assert [one.data for one in found] == ["", ""]


def test_other_presets_and_settings_on_older_data_are_told_too() -> None:
    rows = on(OLD, MONDAY) + on(OLD, MONDAY, preset="tuned") + on(NEW, TUESDAY, tags={"overrides": "epochs=3"})
    found = comparisons(rows, "joint")
    assert {(one.preset, one.older) for one in found} == {("default", True), ("tuned", True), ("default", False)}


def test_dials_with_settings_of_their_own_are_not_versions() -> None:
    rows = [
        row
        for dial, data in (("1", OLD), ("2", NEW))
        for row in on(data, MONDAY, params={"dataset.dial": dial}, tags={"overrides": f"dataset.dial={dial}"})
    ]
    assert [one.data for one in comparisons(rows, "joint")] == ["", ""]


def test_the_same_file_under_other_dials_of_one_preset_is_told_by_its_identity() -> None:
    rows = on(OLD, MONDAY, params={"dataset.dial": "1"}, tags={"data_identity": "11112222x"})
    rows += on(OLD, TUESDAY, params={"dataset.dial": "2"}, tags={"data_identity": "33334444x"})
    assert titles(comparisons(rows, "joint")) == [
        "default · data 11112222 of 2026-03-02 (older)",
        "default · data 33334444 of 2026-03-03 (newest)",
    ]


def test_files_of_the_newest_data_have_the_clean_name(tmp_path: Path) -> None:
    found = comparisons(on(OLD, MONDAY) + on(NEW, TUESDAY), "joint")
    plain = comparisons(on(NEW, TUESDAY), "joint")
    names = {path.stem for path in write_tables([comparison_table(one, "joint") for one in found], tmp_path)}
    (clean,) = {path.stem for path in write_tables([comparison_table(plain[0], "joint")], tmp_path)}
    assert names == {clean, f"{clean}_older_data_0a1b2c3d_of_2026-03-02"}
    statistics = [table.file for one in found for table in claim_tables(claims(one, "ensemble"))]
    assert sum("older data" in name for name in statistics) == 3
    drawn = {one.stem for one in all_figures(found, Sources("joint"), ["methods"])}
    assert drawn == {
        "methods-toy.npz-a-b-file-default",
        "methods-toy.npz-a-b-file-default-older-data-0a1b2c3d-of-2026-03-02",
    }


def test_ranks_are_over_the_newest_data_though_the_older_have_more_runs() -> None:
    found = comparisons(on(OLD, MONDAY, seeds=9) + on(NEW, TUESDAY, seeds=3), "joint")
    (over,) = rank_datasets(found).over
    assert "ffeeddcc" in over


@pytest.mark.parametrize("older", [True, False])
def test_no_command_is_given_that_would_train_on_other_data(older: bool) -> None:
    found = comparisons(on(OLD, MONDAY) + on(NEW, TUESDAY), "joint")
    remedy = power_lines(claims(found[0 if older else 1], "ensemble"))[1]
    assert ("mcr-bench run" in remedy) != older
    assert ("0a1b2c3d" in remedy) == older
