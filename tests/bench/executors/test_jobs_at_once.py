"""How many runs are trained at a time changes no bit of any of them."""

from pathlib import Path

import pytest

from mcr_bench.tests.gpu.training import planned, require_equal, train


@pytest.mark.slow  # a quarter of a minute
def test_one_at_a_time_and_two_give_the_same_weights_and_predictions(tmp_path: Path) -> None:
    plan = planned(["joint", "mcr"], "synthetic", 2, epochs="1")
    one, two = (train(plan, tmp_path / str(jobs), "cpu", jobs=jobs) for jobs in (1, 2))
    for trained in (one, two):
        trained.require_finished(len(plan.runs))
    require_equal(one, two, [spec.key for spec in plan.runs])
