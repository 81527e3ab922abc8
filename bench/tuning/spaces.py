"""The ranges in which a method's settings are searched, and the random draws of a search.

A draw is a pure function of the number of the trial and the setting. A longer search thus begins with the trials of a
shorter one, another method or setting does not change other draws, and in one trial all methods have the same values of
the settings that they share.
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

DIGITS = 4  # significant digits of a draw, so that machines whose logarithms differ in the last bit train the same runs


def spaces(cls: "type[Method]", fixed: Collection[str] = ()) -> dict[str, Declared]:
    """`METHOD.key` -> declaration of every setting that a search varies: those with a declared range.

    The settings of training come first, unless the method does not train, and then the method's own.

    fixed: dotted keys that the user has set, which are not searched.
    """
    common = declared(TrainingSettings) if cls.trains else {}
    tunable = {f"{cls.name}.{key}": d for key, d in (common | declared(cls)).items() if d.space is not None}
    return {key: d for key, d in tunable.items() if key not in fixed and key.partition(".")[2] not in fixed}


def draws(cls: "type[Method]", searched: Mapping[str, Declared], count: int) -> list[dict[str, Value]]:
    """The random settings of `count` trials, each `METHOD.key` -> value; empty if nothing is searched."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=_Keyed(cls))
    distributions = {key: _distribution(d) for key, d in searched.items()}
    parameters = (study.ask(distributions).params for _ in range(count))
    return [{key: _rounded(value, searched[key]) for key, value in drawn.items()} for drawn in parameters]


class _Keyed(RandomSampler):
    """Optuna's random search with a generator for every draw, which the trial and the setting seed."""

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
    """The value with few digits, inside its range."""
    assert d.space is not None
    return min(max(float(f"{value:.{DIGITS}g}"), d.space.low), d.space.high) if d.kind is float else value
