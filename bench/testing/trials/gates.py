"""Which methods a check says something about: those that train, and that train without errors."""

from collections.abc import Callable
from functools import wraps

from mcr_bench.bench.testing.card import Failed, NotApplicable
from mcr_bench.bench.testing.trials.trials import Trials

PROMOTE = (
    "x.float() and x.to(torch.float32) lose digits of float64: write promoted(x) of mcr_bench.bench.core.precision, "
    "and make new tensors like given ones: x.new_zeros(...)."
)


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
        if trials.refused or (trials.cls.trains and trials.trouble):
            raise NotApplicable(trials.trouble)
        with trials.alone():
            check(trials)

    return checked


def require_float64(trials: Trials) -> None:
    """NotApplicable for a method that does not compute in float64 where inputs and weights have it."""
    if trials.narrowed.error or trials.narrowed.learned:
        raise NotApplicable("not checked before the method trains in float64, as these checks do")


def exact(check: Callable[[Trials], None]) -> Callable[[Trials], None]:
    """The check that trains in float64; of a method that does not, another property tells."""

    @wraps(check)
    def checked(trials: Trials) -> None:
        require_float64(trials)
        try:
            check(trials)
        except Failed as failed:
            if not trials.narrowed.seen:
                raise
            also = f"Or this: the check trains in float64. {PROMOTE}{trials.narrowed.seen}"
            raise Failed(str(failed), failed.hint, also) from failed

    return checked
