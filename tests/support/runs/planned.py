"""What the tests of the plan share: a small array file, a method of their own, and short words for plans."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from mcr_bench import __version__
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.presets import Preset
from mcr_bench.bench.planning import plan as planning
from mcr_bench.bench.planning.plan import Plan, make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.record.made_rows import value_of
from mcr_bench.bench.record.row import OURS, RunRow
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.settings.declaration import setting
from mcr_bench.methods.base import Method, Reference

SHAPES = {"a": (4,), "b": (6,), "c": (3,)}


@dataclass
class Mine(Method):
    """A method that this test registers."""

    name: ClassVar[str] = "mine"
    alpha: float = setting(0.5, "a number")
    reference: ClassVar[Reference] = Reference("An idea", "this test")


def save(path: Path, regression: bool = False, classes: Sequence[int] = (0, 1, 2)) -> str:
    """An array file of 30 samples and three modalities."""
    rng = np.random.default_rng(0)
    y = np.resize(classes, 30)
    split = np.repeat(["train", "val", "test"], 10)
    arrays = {f"x_{m}": rng.normal(size=(30, *shape)).astype("float32") for m, shape in SHAPES.items()}
    np.savez(path, y=y + 0.5 if regression else y, split=split, **arrays)
    return str(path)


def plain_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default preset says nothing, so that tuned presets may change."""
    find, plain = planning.preset_of, Preset("plain", "this test", 10, {})
    monkeypatch.setattr(planning, "preset_of", lambda cls, name, *_: find(cls, name) if name else plain)


def register(monkeypatch: pytest.MonkeyPatch, cls: type[Method]) -> None:
    """One more method in the registry, for one test."""
    names, find = registry.method_names, registry.method
    monkeypatch.setattr(registry, "method_names", lambda: sorted({*names(), cls.name}))
    monkeypatch.setattr(registry, "method", lambda name: cls if name == cls.name else find(name))


def planned(data: str, *methods: str, seeds: Sequence[int] | None = (0,), **others: object) -> Plan:
    overrides = others.pop("set", {})
    return make_plan(Request(list(methods), [data], seeds=seeds and list(seeds), overrides=overrides, **others))


def only(plan: Plan) -> RunSpec:
    (run,) = plan.runs
    return run


def recorded(run: RunSpec) -> RunRow:
    """The row of a run that has finished as it was planned."""
    return RunRow(
        key=run.key,
        run_id=run.key,
        status="finished",
        method=run.method,
        label=run.label,
        role=run.role,
        method_digest=run.method_digest,
        primary=run.primary,
        dataset=run.dataset,
        data_identity=run.data_identity,
        modalities=run.modalities,
        protocol=run.protocol,
        fold=run.fold,
        seed=run.seed,
        preset=run.preset,
        config=run.config,
        settings={key: value_of(text) for key, text in run.params().items()},
        dependencies=tuple(needed.key for needed in run.dependencies),
        metric=run.metric,
        versions={OURS: __version__},
        started=0.0,
    )


def keys(plan: Plan) -> list[str]:
    return [run.key for run in plan.runs]


def by_label(plan: Plan) -> dict[str, str]:
    return {f"{run.label}/{run.seed}/{','.join(run.modalities)}": run.key for run in plan.runs}
