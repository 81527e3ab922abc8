"""Properties of what is learned: whether the method acts, whether the loss falls, whether its terms teach."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from mcr_bench.bench.settings.declaration import Value, declared
from mcr_bench.bench.testing.card import Failed, NotApplicable, Property
from mcr_bench.bench.testing.fits import whole_batch
from mcr_bench.bench.testing.methods.rates import overwritten
from mcr_bench.bench.testing.trials.comparing import first_difference
from mcr_bench.bench.testing.trials.epochs import EPOCHS, begin_epoch, step, train_at
from mcr_bench.bench.testing.trials.gates import exact, sound
from mcr_bench.bench.testing.trials.setups import Plain, Setup
from mcr_bench.bench.testing.trials.trials import Trials
from mcr_bench.methods.base import Method

STEPS = 30
ACTS = 1e-7  # smallest difference in float64 that is not the rounding of another order of sums
MOVING: Mapping[str, Value] = {
    "optimizer__lr": 0.05,
    "optimizer__weight_decay": 0.0,
}  # so that nothing but a gradient moves a weight
FALLING: Mapping[str, Value] = {"optimizer__name": "sgd", "optimizer__lr": 0.02}


@sound
@exact
def acts(trials: Trials) -> None:
    """With default settings it trains otherwise than joint training does, in some epoch."""
    cls = trials.cls
    if cls.role != "method":
        raise NotApplicable(f"its role is {cls.role}")
    defaults = {key: one.default for key, one in declared(cls).items()}
    if any({**defaults, **one.settings} == defaults for one in cls.neutral):
        raise NotApplicable("its default settings are declared neutral")
    setup = replace(trials.usual, dtype=torch.float64, training=FALLING)
    method = train_at(trials.start(setup), *EPOCHS)
    plain = train_at(_plain(trials, method, setup), *EPOCHS)
    if _same_weights(method, plain) and _same_predictions(method, plain):
        if overwritten(trials):
            raise NotApplicable("not checked, as a learning rate that it sets is overwritten already")
        raise Failed("with default settings it trains exactly as joint training does, in early and in late epochs")


def _plain(trials: Trials, method: Method, setup: Setup) -> Method:
    return trials.start(replace(setup, modalities=tuple(method.fit.model.modalities), values={}), cls=Plain)


def _same_weights(method: Method, plain: Method) -> bool:
    theirs = plain.fit.model.state_dict()
    mine = {k: v for k, v in method.fit.model.state_dict().items() if not k.startswith(("own_heads.", "extras."))}
    return mine.keys() <= theirs.keys() and not first_difference(mine, theirs, ACTS)


def _same_predictions(method: Method, plain: Method) -> bool:
    inputs = whole_batch(method.fit).inputs
    logits = [one.predict(one.fit.model, inputs).logits for one in (method, plain)]
    return not first_difference({"": logits[0]}, {"": logits[1]}, ACTS)


@sound
def lowers_the_loss(trials: Trials) -> None:
    """Small steps of SGD lower the loss of its predictions.

    They are steps of the first epoch, or more of a late one: there are methods that train their parts alone at first.
    """
    count = STEPS
    before, after = _losses(trials, EPOCHS[0], count)
    if not after < before and trials.cls.needs.own_heads:
        count = 2 * STEPS
        before, after = _losses(trials, EPOCHS[-1], count)
    if not after < before:
        raise Failed(f"{count} small steps of SGD change the loss of its predictions from {before:.4f} to {after:.4f}")


def _losses(trials: Trials, epoch: int, count: int) -> tuple[float, float]:
    """The loss of its predictions before and after so many steps of this epoch."""
    method = trials.start(replace(trials.usual, training=FALLING))
    method.fit.epoch = epoch - 1
    begin_epoch(method)
    before = _loss(method)
    for _ in range(count):
        step(method)
    return before, _loss(method)


@torch.no_grad()
def _loss(method: Method) -> float:
    fit = method.fit
    fit.model.eval()
    return float(fit.task.loss(method.predict(fit.model, whole_batch(fit).inputs).logits, fit.train.target))


@sound
def terms_have_gradients(trials: Trials) -> None:
    """Every term of the loss that is not zero has a gradient."""
    if trials.cls.loss is Method.loss:
        raise NotApplicable("its loss is the fused one")
    method = trials.start()
    silent: list[set[str]] = []
    for _ in range(3):
        step(method)
        silent.append(_silent(method))
    if always := set.intersection(*silent):
        raise Failed(f"the term '{min(always)}' has no gradient: it is logged, but teaches nothing")


def _silent(method: Method) -> set[str]:
    """The terms that are not zero, but whose gradients all are."""
    fit = method.fit
    fit.model.train()
    batch = whole_batch(fit)
    terms = method.loss(method.forward(batch), batch)
    learned = [p for p in fit.model.parameters() if p.requires_grad]
    return {name for name, term in terms.items() if bool(term.detach().any()) and not _teaches(term, learned)}


def _teaches(term: Tensor, learned: list[nn.Parameter]) -> bool:
    if not term.requires_grad:
        return False
    gradients = torch.autograd.grad(term, learned, retain_graph=True, allow_unused=True)
    return any(g is not None and bool(g.any()) for g in gradients)


PROPERTIES = (
    Property(
        "acts",
        "with default settings it does something that joint training does not",
        "A factor or a term may never be used, or its condition may never be true; a method whose defaults are neutral "
        "declares them as neutral.",
        acts,
    ),
    Property(
        "lowers-the-loss",
        "training lowers the loss",
        "Look at the signs: the sum of the terms of loss() is minimised. What is to grow is subtracted.",
        lowers_the_loss,
    ),
    Property(
        "terms-have-gradients",
        "every term of the loss has a gradient",
        "Look for torch.no_grad(), detach() and argmax on the way to the term: masked and perturbed passes need "
        "gradients, too. What is only watched is logged: fit.log(name, value).",
        terms_have_gradients,
    ),
)
