"""Where runs of a compared pair were trained on other devices, or otherwise rounded, tables and tests say so."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from mcr_bench.bench.analysis.budgets import conditions_of, mixed_notes
from mcr_bench.bench.analysis.claims import claims
from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.comparisons import comparisons
from mcr_bench.bench.analysis.sweeps import sweep_table, sweeps
from mcr_bench.bench.analysis.table import comparison_table
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.report.claim_tables import claim_tables
from mcr_bench.bench.report.html.contents import environment_of
from mcr_bench.bench.report.results import results_grid
from mcr_bench.tests.support.records.claimed_runs import run

H100 = {"device": "cuda:0", "device_name": "NVIDIA H100", "precision": "fp32"}
OTHER = {"device": "cuda:3", "device_name": "NVIDIA H100", "precision": "fp32"}
CPU = {"device": "cpu", "device_name": "cpu", "precision": "fp32"}
EARLY = {"device": "cuda:0"}  # of a version that did not write the rest


def rows(method: str, *conditions: dict[str, Any], **changes: Any) -> list[RunRow]:
    """A run per seed, each trained under its conditions."""
    made = [run(method, seed, 0.5 + seed / 100, **changes) for seed in range(len(conditions))]
    return [replace(row, **how) for row, how in zip(made, conditions, strict=True)]


def compared(*lines: list[RunRow]) -> Comparison:
    (found,) = comparisons([row for line in lines for row in line], "joint")
    return found


def warnings(notes: Iterable[str]) -> list[str]:
    return [note for note in notes if note.startswith("WARNING: within pairs")]


def test_a_pair_on_two_devices_is_warned_of_with_its_devices_and_number() -> None:
    found = compared(rows("joint", H100, H100, H100), rows("agm", H100, CPU, CPU), rows("ogm", OTHER, OTHER, OTHER))
    (note,) = warnings(comparison_table(found, "joint").notes)
    assert "device differs from that of joint: agm (cpu, NVIDIA H100; 2 of 3 pairs); " in note
    assert "ogm" not in note  # another GPU of the same model
    assert "--device" in note


@pytest.mark.parametrize(
    ("mine", "theirs", "shown"),
    [
        ({**H100, "precision": "bf16"}, H100, "precision differs from that of joint: agm (bf16, fp32; 1 of 1 pairs)"),
        ({**CPU, "deterministic": True}, CPU, "agm (deterministic, not deterministic; 1 of 1 pairs)"),
        (CPU, EARLY, "agm (cpu, cuda; 1 of 1 pairs)"),
    ],
)
def test_precision_and_determinism_are_such_conditions_too(
    mine: dict[str, Any], theirs: dict[str, Any], shown: str
) -> None:
    (note,) = warnings(mixed_notes(compared(rows("joint", theirs), rows("agm", mine)), "joint"))
    assert shown in note
    assert "rounding" in note


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        ([H100, CPU], [OTHER, CPU]),  # both seeds alike, each on a device of its own
        ([CPU, CPU], [{}, {}]),  # nothing on record
        ([CPU, CPU, H100], [CPU, CPU]),  # no partner with that seed
    ],
)
def test_pairs_that_are_alike_are_not_warned_of(mine: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    found = compared(rows("joint", *theirs), rows("agm", *mine))
    assert warnings(comparison_table(found, "joint").notes) == []
    assert mixed_notes(found, "ensemble") == []  # not a line


def test_what_a_run_starts_from_counts_with_it() -> None:
    single = [replace(row, key="one") for row in rows("unimodal", CPU)]
    started = [replace(row, dependencies=("one", "not on record")) for row in rows("ensemble", H100)]
    (note,) = warnings(mixed_notes(compared(rows("joint", H100), single, started), "joint"))
    assert "ensemble (NVIDIA H100, cpu; 1 of 1 pairs)" in note


def test_the_tests_against_a_baseline_warn_of_their_own_pairs() -> None:
    found = compared(rows("ensemble", CPU, CPU), rows("joint", H100, H100), rows("agm", H100, H100))
    made = claims(found, "ensemble")
    (note,) = warnings(made.notes)
    assert "device differs from that of ensemble: " in note
    for label in ("agm", "joint"):
        assert f"{label} (NVIDIA H100, cpu; 2 of 2 pairs)" in note
    assert note in claim_tables(made)[0].notes


def test_without_its_baseline_a_table_compares_with_its_first_line() -> None:
    found = compared(rows("agm", CPU), rows("mcr", H100))
    assert len(warnings(comparison_table(found, "joint").notes)) == 1


def test_a_sweep_warns_too() -> None:
    made = []
    for dial, how in (("1", CPU), ("2", H100)):
        changes = {"params": {"dataset.dial": dial}, "tags": {"data_identity": dial}}
        made += rows("joint", CPU, CPU, **changes) + rows("agm", how, how, **changes)
    (sweep,) = sweeps(comparisons(made, "joint"))
    assert len(warnings(sweep_table(sweep, "joint").notes)) == 1


def test_results_and_report_show_them() -> None:
    bf16 = rows("joint", {**H100, "precision": "bf16", "deterministic": True}, CPU, EARLY, {})
    told = ["NVIDIA H100, bf16, deterministic", "cpu", "cuda", ""]
    assert [line["device"] for line in results_grid(bf16)] == told == [conditions_of(row) for row in bf16]
    found = environment_of(bf16)
    assert found["device name"] == {"not recorded": 2, "NVIDIA H100": 1, "cpu": 1}
    assert found["precision"] == {"not recorded": 2, "bf16": 1, "fp32": 1}
    assert found["deterministic"] == {"false": 3, "true": 1}
