"""Properties of what must be the same: neutral settings, orders and names of modalities, initial weights."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from itertools import product

import torch
from torch import Tensor

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.settings.declaration import Value, resolve
from mcr_bench.bench.testing.card import Failed, NotApplicable, Property
from mcr_bench.bench.testing.fits import NAMES, whole_batch
from mcr_bench.bench.testing.trials.comparing import first_difference
from mcr_bench.bench.testing.trials.epochs import train_at
from mcr_bench.bench.testing.trials.gates import exact, require_float64, sound, usable
from mcr_bench.bench.testing.trials.setups import Plain, Setup
from mcr_bench.bench.testing.trials.trials import State, Trials
from mcr_bench.datasets.base import Split
from mcr_bench.methods.base import Method, Neutral

EPOCHS, LATE = (1, 2), (1, 2, 25)  # trained with modalities in another order, and beside a simpler method
ROUNDING = 1e-9  # largest difference in float64 of what differs in the order of sums alone
LEARNING: Mapping[str, Value] = {"optimizer__lr": 0.05}
SETTINGS = "neutral = (Neutral({'weight': 0.0}, 'joint'),) names settings of this method and values that they allow."
SIMPLER = "Name the simpler method that it equals with these settings, as `mcr-bench list methods` writes it."
REASON = "Say why only rounding differs: Neutral(..., tolerance=1e-9, reason='...')."
PLAIN_SGD: Mapping[str, Value] = {"optimizer__name": "sgd"}


@sound
def neutral(trials: Trials) -> None:
    """With the neutral settings it trains as the simpler method does, under SGD and under Adam."""
    if not trials.cls.neutral:
        raise NotApplicable("it declares no neutral settings")
    for one in trials.cls.neutral:
        _require_allowed(trials, one)
        if one.tolerance:
            require_float64(trials)
        for count, optimizer in product(trials.working(2, 3), ("sgd", "adam")):
            _compare(
                trials, one, replace(trials.with_count(count), training={"optimizer__name": optimizer, **LEARNING})
            )


def _require_allowed(trials: Trials, one: Neutral) -> None:
    try:
        resolve(trials.cls, one.settings, f"{trials.cls.name}.")
    except UserError as error:
        raise Failed(f"neutral settings: {error}", SETTINGS) from error
    try:
        registry.method(one.equals)
    except UserError as error:
        raise Failed(f"neutral settings equal an {error}", SIMPLER) from error
    if one.tolerance and not one.reason:
        raise Failed(f"neutral settings of '{one.equals}' have a tolerance, but no reason", REASON)


def _compare(trials: Trials, one: Neutral, setup: Setup) -> None:
    setup = replace(setup, dtype=torch.float64 if one.tolerance else torch.float32)
    method = train_at(trials.start(replace(setup, values=one.settings)), *LATE)
    theirs = _simpler(one.equals, setup)
    own = method.needs.own_heads and registry.method(one.equals).needs.own_heads
    mine = {k: v for k, v in method.fit.model.state_dict().items() if own or not k.startswith("own_heads.")}
    if difference := first_difference(mine, theirs, one.tolerance):
        told = ", ".join(f"{key}={value}" for key, value in one.settings.items())
        where = f"({setup.training['optimizer__name']}, M = {len(setup.modalities)})"
        raise Failed(f"with {told} it is not {one.equals}: {difference} after {len(LATE)} epochs {where}")


@cache
def _simpler(name: str, setup: Setup) -> State:
    """The weights of a registered method after the epochs that others are compared with it in."""
    return train_at(Trials(registry.method(name)).start(setup), *LATE).fit.model.state_dict()


@usable
@exact
def order_of_modalities(trials: Trials) -> None:
    """The same data with the modalities in the reverse order, and with the first one last."""
    for count in _several(trials):
        setup = replace(trials.with_count(count), dtype=torch.float64, training=PLAIN_SGD)
        method, names = _stepped(trials, trials.start(setup)), setup.modalities
        for order in {names[::-1], _rotated(names)}:
            _require_same(method, _stepped(trials, trials.start(replace(setup, modalities=order))), lambda name: name)


@usable
@exact
def names_of_modalities(trials: Trials) -> None:
    """The same data in the same order, with the names of the modalities exchanged; draws follow the names."""
    for count in _several(trials):
        setup = replace(trials.with_count(count), dtype=torch.float64, training=PLAIN_SGD)
        method = trials.start(setup)
        names = setup.modalities
        there = _renaming(dict(zip(names, _rotated(names), strict=True)))
        back = _renaming(dict(zip(_rotated(names), names, strict=True)))
        other = _stepped(trials, _renamed(trials, method, setup, there, back))
        _require_same(_stepped(trials, method), other, there)


def _rotated(names: tuple[str, ...]) -> tuple[str, ...]:
    return (*names[1:], names[0])


def _stepped(trials: Trials, method: Method) -> Method:
    """The method after its epochs, in evaluation mode."""
    if trials.cls.trains:
        train_at(method, *EPOCHS)
    method.fit.model.eval()
    return method


def _several(trials: Trials) -> list[int]:
    """The numbers of modalities that it trains together."""
    counts = trials.working(2, 3)
    if len(trials.cls.variants(NAMES[: counts[0]])[0]) == 1:
        raise NotApplicable("it trains one modality at a time")
    return counts


def _renaming(names: Mapping[str, str]) -> Callable[[str], str]:
    """A function that exchanges the names of modalities inside a text, where they are whole words."""
    pattern = re.compile(rf"(?<![A-Za-z0-9])({'|'.join(map(re.escape, names))})(?![A-Za-z0-9])")
    return lambda text: pattern.sub(lambda match: names[match[0]], text)


def _renamed(
    trials: Trials, method: Method, setup: Setup, renamed: Callable[[str], str], back: Callable[[str], str]
) -> Method:
    """The same training with other names of the modalities: the same samples, initial weights and draws.

    back: gives the names that modalities have in `method`.
    """
    initial = {renamed(k): v.clone() for k, v in method.fit.model.state_dict().items()}
    data, val = (_with_names(part, renamed) for part in (method.fit.train, method.fit.val))

    def prepare(fit: Fit) -> None:
        known = fit.model.state_dict()  # without what `on_fit_start` will add
        fit.model.load_state_dict({name: tensor for name, tensor in initial.items() if name in known})
        fit.val = val
        own = fit.generator
        vars(fit)["generator"] = lambda *given, device="cpu": own(
            *(back(one) if isinstance(one, str) else one for one in given), device=device
        )

    return trials.start(
        replace(setup, modalities=tuple(map(renamed, setup.modalities))),
        data=data,
        dependencies=[_translated(one, renamed) for one in trials.needed(method, setup)],
        prepare=prepare,
    )


def _with_names(part: Split, renamed: Callable[[str], str]) -> Split:
    return replace(part, values={renamed(m): x for m, x in part.values.items()})


def _translated(weights: State, renamed: Callable[[str], str]) -> dict[str, Tensor]:
    return {renamed(name): tensor for name, tensor in weights.items()}


def _require_same(method: Method, other: Method, renamed: Callable[[str], str]) -> None:
    mine = _translated(method.fit.model.state_dict(), renamed)
    logits = [one.predict(one.fit.model, whole_batch(one.fit).inputs).logits.detach() for one in (method, other)]
    difference = first_difference(mine, other.fit.model.state_dict(), ROUNDING) or first_difference(
        {"the prediction": logits[0]}, {"the prediction": logits[1]}, 100 * ROUNDING
    )
    if difference:
        raise Failed(f"with {len(method.fit.model.modalities)} modalities {difference} after {len(EPOCHS)} epochs")


@sound
def same_start(trials: Trials) -> None:
    """Before the first step, encoders, heads and fusion head have the weights that all methods start from."""
    method = trials.start()
    if trials.needed(method, trials.usual):
        raise NotApplicable("it starts from other runs")
    names = tuple(method.fit.model.modalities)
    plain = trials.start(replace(trials.usual, modalities=names), cls=Plain)
    theirs = plain.fit.model.state_dict()
    mine = {k: v for k, v in method.fit.model.state_dict().items() if k in theirs and v.shape == theirs[k].shape}
    if difference := first_difference(mine, theirs):
        raise Failed(f"before the first step {difference} from joint training")


PROPERTIES = (
    Property(
        "neutral",
        "with its neutral settings it trains as the simpler method that it names",
        "Skip the term or the factor where its weight is neutral, and draw from fit.generator alone. Or the claim is "
        "wrong: another method is what it equals, or none, and without_neutral says why. A difference in the last "
        "digits may be declared: Neutral(..., tolerance=1e-9, reason=...).",
        neutral,
    ),
    Property(
        "order-of-modalities",
        "the order of the modalities changes nothing",
        "Treat no modality by its place (the first, the last, two by two); ties must not go to the first one. Draws "
        "take the name: fit.generator('noise', m).",
        order_of_modalities,
    ),
    Property(
        "names-of-modalities",
        "the names of the modalities change nothing",
        "Do not sort by name, nor choose by it; go through fit.model.modalities.",
        names_of_modalities,
    ),
    Property(
        "same-start",
        "it starts from the same initial weights as every other method",
        "Do not draw weights of encoders and heads again; new modules go into model.extras in build(), with "
        "reset_parameters. A part that is dropped or replaced is so in build(), before weights are drawn: "
        "model.fusion.register_parameter('bias', None), or model.fusion = YourHead(...), whose parameters have names "
        "of their own if they start otherwise.",
        same_start,
    ),
)
