"""Settings of the optimiser, the schedule or a method that do nothing beside another choice are named when planning."""

from pathlib import Path

import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.settings.declaration import declared
from mcr_bench.bench.settings.training import TrainingSettings

METHOD = """
from dataclasses import dataclass
from typing import Literal

from mcr_bench.bench.settings import setting
from mcr_bench.methods.base import Method, Reference


@dataclass
class Mine(Method):
    form: Literal["plain", "sharp", "soft"] = setting("plain", "the form")
    sharpness: int = setting(1, "how sharp", where=("form", ("sharp", "soft")))
    name = "mine"
    reference = Reference("An idea", "this test")
"""


def idle(overrides: dict[str, list[str]], methods: tuple[str, ...] = ("joint", "mcr")) -> list[str]:
    """The announcements of such settings, of a plan of two seeds."""
    plan = make_plan(Request(list(methods), ["synthetic"], seeds=[0, 1], overrides=overrides))
    return [line for line in plan.announcements if "has no effect" in line]


def test_momentum_is_for_sgd_alone() -> None:
    (line,) = idle({"optimizer.momentum": ["0.5"]})
    assert line.startswith(
        "optimizer.momentum=0.5 has no effect in 4 runs with optimizer.name=adam; it acts with optimizer.name=sgd."
    )
    assert idle({"optimizer.momentum": ["0.5"], "optimizer.name": ["sgd"]}) == []


def test_of_a_grid_the_runs_count_in_which_it_does_nothing() -> None:
    (line,) = idle({"optimizer.name": ["adamw", "sgd"], "optimizer.beta1": ["0.8"]})
    assert line.startswith("optimizer.beta1=0.8 has no effect in 4 runs with optimizer.name=sgd; it acts with")
    assert "optimizer.name=adam or optimizer.name=adamw" in line


def test_a_setting_of_one_method_counts_in_its_runs() -> None:
    (line,) = idle({"mcr.schedule.every": ["5"]})
    assert line.startswith("mcr.schedule.every=5 has no effect in 2 runs with mcr.schedule.name=constant")
    assert idle({"mcr.schedule.every": ["5"], "mcr.schedule.name": ["step"]}) == []


def test_a_method_of_ones_own_declares_what_acts_with_what(tmp_path: Path) -> None:
    file = tmp_path / "my_method.py"
    file.write_text(METHOD)
    (line,) = idle({"mine.sharpness": ["2"]}, ("joint", str(file)))
    assert line.startswith(
        "mine.sharpness=2 has no effect in 2 runs with mine.form=plain; it acts with mine.form=sharp or mine.form=soft."
    )
    assert idle({"mine.sharpness": ["2"], "mine.form": ["soft"]}, ("joint", str(file))) == []


def test_settings_that_always_act_and_those_of_presets_are_not_named() -> None:
    assert idle({"epochs": ["3"], "optimizer.weight_decay": ["0"]}) == []
    assert idle({}) == []


def test_every_condition_names_a_setting_and_its_values() -> None:
    known = declared(TrainingSettings)
    conditions = [one.where for one in known.values() if one.where]
    assert len(conditions) >= 8
    assert [value for key, values in conditions for value in values if known[key].parse(value, "") != value] == []


def test_a_factor_that_leaves_the_range_of_numbers_is_refused() -> None:
    with pytest.raises(UserError, match=r"schedule\.factor=1e\+?300: not allowed"):
        idle({"schedule.factor": ["1e300"], "schedule.name": ["step"]})
