"""The kit of methods: all their properties, and what a target names."""

import inspect
from pathlib import Path

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.method_form import check_form
from mcr_bench.bench.catalog.user_classes import packaged
from mcr_bench.bench.testing.card import Kit, Opened, Property
from mcr_bench.bench.testing.methods import (
    agreeing,
    coefficients,
    costs,
    declared,
    extremes,
    honesty,
    lacking,
    learning,
    moving,
    predicting,
    rates,
    repeating,
    running,
    sameness,
    untouched,
)
from mcr_bench.bench.testing.methods.costs import cost_notes
from mcr_bench.bench.testing.trials.trials import Trials
from mcr_bench.methods.base import Method

PROPERTIES: tuple[Property[Trials], ...] = (
    *running.PROPERTIES,
    *repeating.PROPERTIES,
    *declared.PROPERTIES,
    *sameness.PROPERTIES,
    *moving.PROPERTIES,
    *rates.PROPERTIES,
    *learning.PROPERTIES,
    *coefficients.PROPERTIES,
    *extremes.PROPERTIES,
    *lacking.PROPERTIES,
    *predicting.PROPERTIES,
    *agreeing.PROPERTIES,
    *honesty.PROPERTIES,
    *untouched.PROPERTIES,
    *costs.PROPERTIES,
)


def opened(target: str) -> Opened[Trials]:
    """A registered method, or one of a file or a package."""
    cls = _class_of(target)
    source = inspect.getsourcefile(cls)
    trials = Trials(cls, Path(source) if source else None)
    return Opened(cls.name, trials, trials.file, lambda: cost_notes(trials))


def _class_of(target: str) -> type[Method]:
    cls = None if registry.is_file(target) else packaged(target)
    if cls is None:
        return registry.method(target)
    assert issubclass(cls, Method)
    check_form(cls, inspect.getsourcefile(cls) or target, registry.COMMON)
    return cls


KIT = Kit(PROPERTIES, opened)
