"""Properties of what is learned: which parameters move, whether the method acts, and whether the loss falls."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from mcr_bench.bench.models.multimodal import Owner
from mcr_bench.bench.settings.declaration import Value, declared
from mcr_bench.bench.testing.card import Failed, NotApplicable, Property
from mcr_bench.bench.testing.fits import whole_batch
from mcr_bench.bench.testing.methods.comparing import first_difference
from mcr_bench.bench.testing.methods.epochs import step, train_at
from mcr_bench.bench.testing.methods.setups import Plain, Setup
from mcr_bench.bench.testing.methods.trials import Trials, sound
from mcr_bench.methods.base import Method

EPOCHS = (1, 2, 3, 25, 50)  # also late ones, as some methods begin to act, or end it, at an epoch
ACTS = 1e-7  # smallest difference in float64 that is not the rounding of another order of sums
MOVING: Mapping[str, Value] = {
    "optimizer__lr": 0.05,
    "optimizer__weight_decay": 0.0,
}  # so that nothing but a gradient moves a weight
FALLING: Mapping[str, Value] = {"optimizer__name": "sgd", "optimizer__lr": 0.02}


@sound
def every_parameter_moves(trials: Trials) -> None:
    """Every parameter that requires a gradient and matters is moved by the optimiser."""
    still = _still(trials, {})
    if still:
        still &= _still(trials, _awake(trials.cls))
    if still:
        raise Failed(f"{', '.join(sorted(still))}: the optimiser never moves it, though it requires a gradient")


def _awake(cls: type[Method]) -> dict[str, Value]:
    """Settings that are 0 by default, as 1: what belongs to a term of weight 0 learns nothing otherwise."""
    zeros = [key for key, one in declared(cls).items() if type(one.default) is float and one.default == 0]
    allowed = {}
    for key in zeros:
        try:
            allowed[key] = declared(cls)[key].parse(1.0, key)
        except Exception:
            continue
    return allowed


def _still(trials: Trials, values: dict[str, Value]) -> set[str]:
    """Names of parameters that should have moved and have not."""
    method = trials.start(replace(trials.usual, values=values, training=MOVING))
    model, first = method.fit.model, dict[str, Tensor]()
    moved: set[str] = set()
    for epoch in EPOCHS:
        for name, parameter in model.named_parameters():
            first.setdefault(name, parameter.detach().clone())
        train_at(method, epoch)
        moved |= {name for name, p in model.named_parameters() if name in first and not torch.equal(first[name], p)}
    return {name for name in _meant(method) if name in first} - moved


def _meant(method: Method) -> Iterator[str]:
    """The parameters that must move: those that the prediction needs, and those that the method has added."""
    model = method.fit.model
    model.eval()
    own = [(name, p, owner) for name, p, owner in model.owned() if p.requires_grad]
    total = method.predict(model, whole_batch(method.fit).inputs).logits.square().sum()
    needed = torch.autograd.grad(total, [p for _, p, _ in own], allow_unused=True)
    for (name, _, owner), gradient in zip(own, needed, strict=True):
        if gradient is not None or _is_own(method, owner):
            yield name


def _is_own(method: Method, owner: Owner) -> bool:
    return owner.role == "method" or (owner.role == "own_head" and method.needs.own_heads)


@sound
def parameters_in_the_model(trials: Trials) -> None:
    """What the optimiser trains is a part of the model, so that checkpoints and best weights hold it."""
    method = train_at(trials.start(), 1)
    known = {id(p) for p in method.fit.model.parameters()}
    for group in method.fit.optimizer.param_groups:
        for parameter in group["params"]:
            if id(parameter) not in known:
                raise Failed(f"the optimiser trains a parameter of shape {tuple(parameter.shape)} outside the model")


@sound
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
    """Thirty small steps of SGD lower the loss of its predictions."""
    method = trials.start(replace(trials.usual, training=FALLING))
    before = _loss(method)
    for _ in range(30):
        step(method)
    after = _loss(method)
    if not after < before:
        raise Failed(f"30 small steps of SGD change the loss of its predictions from {before:.4f} to {after:.4f}")


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
        "every-parameter-moves",
        "the optimiser moves every parameter that requires a gradient",
        "Return it from parameter_groups, and let a loss reach it; one that is meant to stay is frozen in build(): "
        "requires_grad_(False).",
        every_parameter_moves,
    ),
    Property(
        "parameters-in-the-model",
        "the optimiser trains parameters of the model alone",
        "Put the module into model.extras in build(): checkpoints and best weights hold the model's parameters only.",
        parameters_in_the_model,
    ),
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
