"""How many runs are trained at a time changes no bit of any of them."""

from pathlib import Path

from mcr_bench.tests.gpu.training import planned, require_equal, train


def test_one_at_a_time_and_four_give_the_same_weights_and_predictions(tmp_path: Path) -> None:
    plan = planned(["joint", "mcr"], "synthetic", 2, epochs="1")
    one, four = (train(plan, tmp_path / str(jobs), "cpu", jobs=jobs) for jobs in (1, 4))
    for trained in (one, four):
        trained.require_finished(len(plan.runs))
    require_equal(one, four, [spec.key for spec in plan.runs])
