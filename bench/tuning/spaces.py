"""Where a method is searched, and the random draws of a search.

A draw is a pure function of trial number and setting: a longer search begins with the shorter one, another method or
setting shifts nobody's draws, and in one trial all methods are given the same values of the settings that they share.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler

from mcr_bench.bench.core.seeds import stream_seed
from mcr_bench.bench.settings.declaration import Declared, Value, declared
from mcr_bench.bench.settings.training import TrainingSettings

if TYPE_CHECKING:
    from mcr_bench.methods.base import Method

DIGITS = 4  # a drawn float is rounded, so that machines whose logarithms differ in the last bit train the same runs


def spaces(cls: "type[Method]", fixed: Collection[str] = ()) -> dict[str, Declared]:
    """The settings with a space that a search varies: `METHOD.key` -> declaration.

    Those of training come first (none for a method that does not train), then the method's own. `fixed` holds dotted
    keys that the user has set: they are not searched.
    """
    common = declared(TrainingSettings) if cls.trains else {}
    tunable = {f"{cls.name}.{key}": d for key, d in (common | declared(cls)).items() if d.space is not None}
    return {key: d for key, d in tunable.items() if key not in fixed and key.partition(".")[2] not in fixed}


def draws(cls: "type[Method]", searched: Mapping[str, Declared], count: int) -> list[dict[str, Value]]:
    """`count` random settings of the method, each `METHOD.key` -> value; empty ones where nothing is searched."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=_Keyed(cls))
    distributions = {key: _distribution(d) for key, d in searched.items()}
    parameters = (study.ask(distributions).params for _ in range(count))
    return [{key: _rounded(value, searched[key]) for key, value in drawn.items()} for drawn in parameters]


class _Keyed(RandomSampler):
    """Random search whose every draw has a generator of its own, seeded by trial and setting."""

    def __init__(self, cls: "type[Method]") -> None:
        super().__init__(0)
        self._own = set(declared(cls))

    def sample_independent(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> float:
        key = param_name.partition(".")[2]
        seed = stream_seed(0, "method", "tuning", trial.number, param_name if key in self._own else key) % 2**32
        drawn: float = RandomSampler(seed).sample_independent(study, trial, param_name, param_distribution)
        return drawn


def _distribution(d: Declared) -> BaseDistribution:
    assert d.space is not None
    if d.kind is int:
        return IntDistribution(round(d.space.low), round(d.space.high), log=d.space.log)
    return FloatDistribution(d.space.low, d.space.high, log=d.space.log)


def _rounded(value: Value, d: Declared) -> Value:
    """A float of a few digits, still inside its space."""
    assert d.space is not None
    return min(max(float(f"{value:.{DIGITS}g}"), d.space.low), d.space.high) if d.kind is float else value
