"""Settings of the optimiser, the schedule or a method that do nothing beside another choice are named when planning."""

import math
from pathlib import Path

import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.settings.declaration import declared
from mcr_bench.bench.settings.training import ScheduleSettings, TrainingSettings
from mcr_bench.bench.training.optim import rate_factor
from mcr_bench.bench.tuning.request import TuneRequest, prepare

METHOD = """
from dataclasses import dataclass
from typing import Literal

from mcr_bench.bench.settings import setting
from mcr_bench.methods.base import Method, Reference


@dataclass
class Mine(Method):
    form: Literal["plain", "sharp", "soft"] = setting("plain", "the form")
    sharpness: int = setting(1, "how sharp", acts_with=("form", ("sharp", "soft")))
    name = "mine"
    reference = Reference("An idea", "this test")
"""


def idle(overrides: dict[str, list[str]], methods: tuple[str, ...] = ("joint", "mcr"), preset: str = "") -> list[str]:
    """The announcements of such settings, of a plan of two seeds."""
    request = Request(list(methods), ["synthetic"], seeds=[0, 1], preset=preset or None, overrides=overrides)
    return [line for line in make_plan(request).announcements if "has no effect" in line]


def test_momentum_is_for_sgd_alone() -> None:
    (line,) = idle({"optimizer.momentum": ["0.5"]})
    assert line.startswith(
        "optimizer.momentum has no effect in 4 runs with optimizer.name=adam; it acts with optimizer.name=sgd."
    )
    assert idle({"optimizer.momentum": ["0.5"], "optimizer.name": ["sgd"]}) == []


def test_the_default_is_not_named_as_the_key_is_the_same_without_it() -> None:
    assert idle({"optimizer.momentum": ["0.9"]}) == []


def test_of_a_grid_there_is_one_sentence_with_the_runs_in_which_it_does_nothing() -> None:
    (line,) = idle({"optimizer.name": ["adamw", "sgd"], "optimizer.beta1": ["0.7", "0.8"]})
    assert line.startswith("optimizer.beta1 has no effect in 8 runs with optimizer.name=sgd; it acts with")
    assert "optimizer.name=adam or optimizer.name=adamw" in line


def test_a_setting_of_one_method_counts_in_its_runs_and_takes_the_place_of_the_general_one() -> None:
    (line,) = idle({"mcr.schedule.every": ["5"]})
    assert line.startswith("mcr.schedule.every has no effect in 2 runs with mcr.schedule.name=constant")
    assert idle({"mcr.schedule.every": ["5"], "mcr.schedule.name": ["step"]}) == []
    both = idle({"schedule.every": ["4"], "mcr.schedule.every": ["5"]})
    assert [" ".join(line.split()[:7]) for line in both] == [
        "schedule.every has no effect in 2 runs",
        "mcr.schedule.every has no effect in 2 runs",
    ]


def test_an_ensemble_trains_nothing_so_that_its_unimodal_runs_alone_count() -> None:
    (line,) = idle({"optimizer.momentum": ["0.5"]}, ("ensemble",))
    assert "in 4 runs" in line


def test_a_method_of_ones_own_declares_what_acts_with_what(tmp_path: Path) -> None:
    file = tmp_path / "my_method.py"
    file.write_text(METHOD)
    (line,) = idle({"mine.sharpness": ["2"]}, ("joint", str(file)))
    assert line.startswith(
        "mine.sharpness has no effect in 2 runs with mine.form=plain; it acts with mine.form=sharp or mine.form=soft."
    )
    assert idle({"mine.sharpness": ["2"], "mine.form": ["soft"]}, ("joint", str(file))) == []


def test_what_a_preset_says_is_not_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A preset may serve several optimisers."""
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path))
    folder = tmp_path / "presets"
    folder.mkdir()
    (folder / "synthetic.toml").write_text('[mine]\norigin = "this test"\n"optimizer.momentum" = 0.5\n')
    plan = make_plan(Request(["joint"], ["synthetic"], seeds=[0], preset="mine"))
    assert plan.runs[0].training["optimizer.momentum"] == 0.5
    assert idle({}, preset="mine") == []


def test_a_search_tells_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path))
    asked = TuneRequest(["joint"], "synthetic", trials=2, overrides={"optimizer.momentum": ["0.5"]})
    (line,) = prepare(asked, tmp_path).notes
    assert line.startswith("optimizer.momentum has no effect in 1 run")


def test_settings_that_always_act_are_not_named() -> None:
    assert idle({"epochs": ["3"], "optimizer.weight_decay": ["0"]}) == []


def test_every_condition_names_a_setting_and_its_values() -> None:
    known = declared(TrainingSettings)
    conditions = [one.acts_with for one in known.values() if one.acts_with]
    assert len(conditions) >= 8
    assert [value for key, values in conditions for value in values if known[key].parse(value, "") != value] == []


def test_a_factor_that_leaves_the_range_of_numbers_is_refused() -> None:
    with pytest.raises(UserError, match=r"schedule\.factor=1e\+?300: not allowed"):
        idle({"schedule.factor": ["1e300"], "schedule.name": ["step"]})


def test_a_power_that_leaves_the_range_of_numbers_is_an_infinity() -> None:
    """Training then diverges, and says so; Python's own error would name neither setting nor remedy."""
    schedule = ScheduleSettings(name="step", every=1, factor=1e6)
    assert rate_factor(schedule, step=3, steps_per_epoch=1, epochs=60) == 1e12
    assert rate_factor(schedule, step=60, steps_per_epoch=1, epochs=60) == math.inf
