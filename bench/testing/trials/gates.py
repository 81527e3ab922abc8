"""Which methods a check says something about: those that train, and that train without errors."""

from collections.abc import Callable
from functools import wraps

from mcr_bench.bench.testing.card import NotApplicable
from mcr_bench.bench.testing.trials.trials import Trials


def sound(check: Callable[[Trials], None]) -> Callable[[Trials], None]:
    """The check of a method that trains without errors; of another one it says nothing, as other properties do."""

    @wraps(check)
    def checked(trials: Trials) -> None:
        if not trials.cls.trains:
            raise NotApplicable("it trains nothing")
        usable(check)(trials)

    return checked


def usable(check: Callable[[Trials], None]) -> Callable[[Trials], None]:
    """The check of a method that trains without errors, or not at all."""

    @wraps(check)
    def checked(trials: Trials) -> None:
        if trials.cls.trains and trials.trouble:
            raise NotApplicable(trials.trouble)
        with trials.alone():
            check(trials)

    return checked
