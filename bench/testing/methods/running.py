"""Properties of plain training: it raises no error, and everything that it computes is finite."""

from mcr_bench.bench.testing.card import Failed, NotApplicable, Property
from mcr_bench.bench.testing.trials.comparing import Tried
from mcr_bench.bench.testing.trials.gates import PROMOTE, sound
from mcr_bench.bench.testing.trials.trials import FAILS, Trials

USUAL_TASKS = ("classes", "one score")  # those that every number of modalities is tried with
PLAINLY = (  # the hint of an error that has nothing to do with numbers of modalities
    "Plain training fails. In Python, make_fit(method) and step(method) of mcr_bench.bench.testing.fits repeat it with "
    "the whole traceback."
)
COUNTS = (1, 2, 3, 4, 5, 6)


def any_number(trials: Trials) -> None:
    """An epoch with two, three and four modalities, and with the fewest and most that it declares."""
    _ = trials.usual  # an error raised here becomes the reason of this property
    for where, tried in _every(trials):
        if tried.error:
            raise Failed(f"{where}: {tried.error}", PLAINLY if trials.fails else "")


def finite_terms(trials: Trials) -> None:
    """Losses, coefficients and whatever else is logged."""
    for where, tried in _every(trials):
        if tried.term:
            raise Failed(f"{where}: {tried.term}")
    _require_tried(trials)


def finite_gradients(trials: Trials) -> None:
    """Gradients and parameters after every step."""
    for where, tried in _every(trials):
        if tried.gradient and not tried.term:
            raise Failed(f"{where}: {tried.gradient}")
    _require_tried(trials)


@sound
def trains_in_float64(trials: Trials) -> None:
    """Terms and predictions have the type of inputs and weights, so that other checks can compare to many digits."""
    if trials.narrowed.error:
        raise Failed(f"in float64: {trials.narrowed.error}")
    if trials.narrowed.learned:
        raise Failed(f"float64 is turned into fewer bits{trials.narrowed.learned}")


def _require_tried(trials: Trials) -> None:
    if trials.fails:
        raise NotApplicable(FAILS)


def _every(trials: Trials) -> list[tuple[str, Tried]]:
    """What came of an epoch of every number of modalities and task that the method takes, with its name."""
    if not trials.cls.trains:
        raise NotApplicable("it trains nothing")
    if trials.refused:
        raise NotApplicable(FAILS)
    usual = len(trials.usual.modalities)
    counts = [n for n in COUNTS if 2 <= n <= 4 or n == usual]
    with trials.alone():
        return [
            (f"{n} modalities, {name}", trials.tried(n, task))
            for n in counts
            for name, task in trials.tasks(n).items()
            if n == usual or name in USUAL_TASKS
        ]


PROPERTIES = (
    Property(
        "any-number",
        "it trains with two, three and four modalities, classes, labels and scores, as far as its needs admit",
        "Go through outputs.features.items() or fit.model.modalities, and through fit.task for the loss; where it is "
        "not defined, declare it: Needs(at_most=2), Needs(classification=True).",
        any_number,
    ),
    Property(
        "finite-terms",
        "every term of the loss and every coefficient that it logs is finite",
        "Keep arguments of log, sqrt and divisions away from 0: clamp(min=1e-8), log_softmax, logsumexp.",
        finite_terms,
    ),
    Property(
        "finite-gradients",
        "all gradients and weights are finite after every step",
        "sqrt and norms have an infinite slope at 0: add an epsilon inside. torch.where still has the gradient of both "
        "sides.",
        finite_gradients,
    ),
    Property(
        "float64",
        "it computes in the type of inputs and weights, as some of these checks train in float64",
        PROMOTE,
        trains_in_float64,
    ),
)
