"""A family that is named after training: the earlier one stays on record, and the command says so."""

from dataclasses import replace
from pathlib import Path

import pytest

from mcr_bench.bench.planning.advice.other_family import planned_otherwise
from mcr_bench.bench.planning.plan import Plan, make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.tests.support.runs.planned import plain_presets, recorded, save

THREE = ["joint", "mlb", "ogm"]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    plain_presets(monkeypatch)
    return save(tmp_path / "set.npz")


def plan_of(data: str, family: list[str] | None, seeds: list[int]) -> Plan:
    return make_plan(Request(methods=THREE, datasets=[data], seeds=seeds, family=family))


@pytest.mark.parametrize("seeds", [[0, 1], [0, 1, 2], [5]])
def test_another_family_than_the_recorded_one_is_told(data: str, seeds: list[int]) -> None:
    """For the recorded runs as for further ones, which come into the same lines."""
    rows = [recorded(run) for run in plan_of(data, ["joint", "mlb"], [0, 1]).runs]
    plan = plan_of(data, ["joint", "ogm"], seeds)
    (told,) = planned_otherwise(plan, plan.by_key.keys() - {row.key for row in rows}, rows)
    assert told.startswith("4 finished runs on record were planned under another family")
    assert told.endswith("only if all its runs were planned so, and `mcr-bench compare` says which are.")


def test_runs_that_are_trained_again_take_the_new_family(data: str) -> None:
    rows = [recorded(run) for run in plan_of(data, ["joint", "mlb"], [0, 1]).runs]
    plan = plan_of(data, ["joint", "ogm"], [0, 1])
    assert planned_otherwise(plan, plan.by_key.keys(), rows) == []


def test_the_same_family_and_unfinished_runs_are_not_told(data: str) -> None:
    plan = plan_of(data, ["joint", "mlb"], [0, 1])
    rows = [recorded(run) for run in plan.runs]
    assert planned_otherwise(plan, set(), rows) == []
    failed = [replace(row, status="failed", primary=not row.primary) for row in rows]
    assert planned_otherwise(plan, set(), failed) == []
