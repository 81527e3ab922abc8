"""`--shard`: the parts are the plan, no run is in two of them, and runs stay with those that they start from."""

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.planning.plan import Plan
from mcr_bench.bench.planning.shards import Shard, parse_shard
from mcr_bench.cli import app
from mcr_bench.tests.support.runs.planned import planned

METHODS = ["ensemble", "joint", "uni-pre-frozen", "ogm", "mlb"]


def parts(plan: Plan, count: int) -> list[Plan]:
    return [Shard(index, count).of(plan) for index in range(1, count + 1)]


def keys(plans: list[Plan]) -> list[list[str]]:
    return [sorted(plan.by_key) for plan in plans]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
def test_the_parts_are_the_plan_and_no_run_is_in_two(data: str, count: int) -> None:
    plan = planned(data, *METHODS, seeds=range(4))
    split = parts(plan, count)
    assert sorted(key for part in split for key in part.by_key) == sorted(plan.by_key)
    assert set().union(*(part.requested for part in split)) == plan.requested
    assert {key: under for part in split for key, under in part.by_preset.items()} == plan.by_preset


@pytest.mark.parametrize("count", [2, 3, 7])
def test_runs_stay_with_those_that_they_start_from(data: str, count: int) -> None:
    for part in parts(planned(data, *METHODS, seeds=range(4)), count):
        assert all(needed.key in part.by_key for run in part.runs for needed in run.dependencies)


def test_the_order_of_typing_does_not_matter(data: str) -> None:
    methods, seeds = list(METHODS), list(range(4))
    random.Random(0).shuffle(methods)
    random.Random(1).shuffle(seeds)
    assert keys(parts(planned(data, *METHODS, seeds=range(4)), 3)) == keys(
        parts(planned(data, *methods, seeds=seeds), 3)
    )


def test_parts_get_about_the_same_of_every_method(data: str) -> None:
    split = parts(planned(data, "joint", "ogm", "mlb", "agm", seeds=range(8)), 4)
    assert [len(part.runs) for part in split] == [8] * 4
    assert all(sum(run.method == "agm" for run in part.runs) == 2 for part in split)


def test_the_first_part_of_one_is_the_plan(data: str) -> None:
    plan = planned(data, *METHODS)
    assert Shard(1, 1).of(plan).by_key == plan.by_key


def test_parts_tell_which_plan_they_are_of(data: str) -> None:
    plan, other = planned(data, "joint", seeds=range(3)), planned(data, "joint", seeds=range(4))
    first, second = (part.announcements[-1] for part in parts(plan, 2))
    assert first.startswith("Shard 1/2: 2 of the 3 runs of plan ")
    assert second.split("plan ")[1] == first.split("plan ")[1]
    assert first.split("plan ")[1] != Shard(1, 2).of(other).announcements[-1].split("plan ")[1]


@pytest.mark.parametrize("text", ["0/3", "4/3", "a/b", "1/0", "", "1", "1/", "/2", "1/2/3", "-1/2", "1.5/2", "1/10001"])
def test_other_parts_are_errors(text: str) -> None:
    with pytest.raises(UserError, match=r"--shard .* not allowed\. Give I/N"):
        parse_shard(text)


def test_spaces_do_not_matter() -> None:
    assert parse_shard(" 2 / 4 ") == Shard(2, 4)


def test_the_plan_of_a_part_is_shown(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path))
    command = ["run", "--methods", "joint,ogm", "--dataset", data, "--seeds", "2", "--plan", "--json", "--shard"]
    shown = [json.loads(CliRunner().invoke(app, [*command, shard]).stdout) for shard in ("1/3", "2/3", "3/3")]
    assert [len(one["runs"]) for one in shown] == [2, 1, 1]
    assert len({run["key"] for one in shown for run in one["runs"]}) == 4
    assert all("Shard " in one["announcements"][-1] for one in shown)


def test_a_part_without_runs_trains_nothing(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path))
    done = CliRunner().invoke(app, ["run", "--methods", "joint", "--dataset", data, "--seeds", "1", "--shard", "2/2"])
    assert done.exit_code == 0
    assert "0 of the 1 runs" in done.stderr


def test_a_wrong_part_is_a_usage_error() -> None:
    done = CliRunner().invoke(app, ["run", "--methods", "joint", "--dataset", "synthetic", "--shard", "4/3"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--shard '4/3': not allowed" in done.stderr
