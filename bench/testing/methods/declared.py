"""Properties of what a method declares of itself: its card, its settings and its needs."""

import dataclasses

from torch import nn

from mcr_bench.bench.models.kinds import fusion_kinds
from mcr_bench.bench.planning.heads import heads_of
from mcr_bench.bench.settings.declaration import declared, resolve
from mcr_bench.bench.testing.card import Failed, NotApplicable, Property
from mcr_bench.bench.testing.fits import tiny_split, whole_batch
from mcr_bench.bench.testing.trials.comparing import Tried
from mcr_bench.bench.testing.trials.epochs import step
from mcr_bench.bench.testing.trials.gates import sound
from mcr_bench.bench.testing.trials.setups import Setup
from mcr_bench.bench.testing.trials.stepped import STEPPED
from mcr_bench.bench.testing.trials.trials import Trials
from mcr_bench.methods.base import PLACEHOLDER, Method

OWN = (
    "State where the method comes from, Reference(title, venue, arXiv number), or Reference('what it is', "
    "'unpublished'); and in what it differs from the official code, one sentence each: deviations = () if in nothing."
)


def complete_card(trials: Trials) -> None:
    """Every fact that the card shows is declared."""
    lacking = [fact for fact, told in _facts(trials.cls).items() if not told]
    if lacking:
        raise Failed(f"the card lacks {', '.join(lacking)}")
    if unfinished := _unfinished(trials.cls):
        raise Failed(f"unchanged since `mcr-bench new` has written the file: {', '.join(unfinished)}", OWN)
    if not all(isinstance(one, str) and one.strip() for one in trials.cls.deviations):
        raise Failed("a deviation is not a sentence")


def _facts(cls: type[Method]) -> dict[str, bool]:
    reference = getattr(cls, "reference", None)
    text = vars(cls).get("__doc__") or ""
    return {
        "a docstring of its own with the formula": bool(text) and not text.startswith(f"{cls.__name__}("),
        "reference": bool(reference and reference.title and reference.venue),
        "neutral, or the reason why there is none (without_neutral)": bool(
            cls.neutral or cls.without_neutral or cls.role != "method"
        ),
    }


def _unfinished(cls: type[Method]) -> list[str]:
    """The facts that still are as `mcr-bench new` wrote them."""
    texts = {"reference": (cls.reference.title, cls.reference.venue), "deviations": cls.deviations}
    return [fact for fact, told in texts.items() if any(str(one).startswith(PLACEHOLDER) for one in told)]


def documented_settings(trials: Trials) -> None:
    """Every field that can be given is a setting, with a text and an origin, and its default is allowed."""
    cls = trials.cls
    known = declared(cls)
    heads = {key.partition(".")[0] for key in known}
    undeclared = [one.name for one in dataclasses.fields(cls) if one.init and one.name not in heads | {"fit"}]
    if undeclared:
        raise Failed(f"{', '.join(undeclared)} is a field, but not a setting")
    for key, one in known.items():
        if not one.doc.strip() or not one.origin.strip():
            raise Failed(f"the setting {key} has no text that says what it does")
        resolve(cls, {key: one.default})


@sound
def own_heads_declared(trials: Trials) -> None:
    """A method that reads the own heads says so, as they are evaluated as trained heads only then."""
    if trials.cls.needs.own_heads:
        raise NotApplicable("it declares own_heads")
    method = trials.start()
    read: list[str] = []

    def note(_module: nn.Module, _inputs: object, _logits: object) -> None:
        read.append("")

    for head in method.fit.model.own_heads.values():
        head.register_forward_hook(note)
    step(method)
    method.fit.model.eval()
    method.predict(method.fit.model, whole_batch(method.fit).inputs)
    if read:
        raise Failed("it reads the own heads (outputs.own_logits), but does not declare Needs(own_heads=True)")


@sound
def any_fusion_head(trials: Trials) -> None:
    """It trains with every fusion head of the harness that it is defined for by its needs."""
    count = len(trials.cls.variants(trials.usual.modalities)[0])
    for name, reason in heads_of(trials.cls).items():
        kind = fusion_kinds()[name]
        if reason is not None or kind.extra or not kind.at_least <= count <= kind.at_most:
            continue
        setup = dataclasses.replace(trials.usual, fusion=name)
        tried = trials.tried_with(_of_sequences(setup) if kind.reads else setup)
        if tried != Tried():
            raise Failed(f"with model.fusion={name}: {tried.text}")


def _of_sequences(setup: Setup) -> Setup:
    """The same training on tokens and stages of sequences; in a single step, as heads that read them take long."""
    return dataclasses.replace(setup, encoder=STEPPED, training={**setup.training, "batch_size": len(tiny_split())})


PROPERTIES = (
    Property(
        "complete-card",
        "its card is complete: docstring, reference, deviations, and neutral or a reason why there is none",
        "Declare them as docs/methods.md shows (What a method declares); users compare methods by their cards.",
        complete_card,
    ),
    Property(
        "documented-settings",
        "every field is a setting with a text that says what it does, and with a default that is allowed",
        'Make the field with setting(default, "what it does"); an attribute of the method itself is field(init=False).',
        documented_settings,
    ),
    Property(
        "own-heads-declared",
        "it reads the own heads only if it declares so",
        "Write needs = Needs(own_heads=True): otherwise they count as untrained, and probe heads are "
        "shown in their place.",
        own_heads_declared,
    ),
    Property(
        "any-fusion-head",
        "it trains with every fusion head that its needs admit",
        "outputs.branch_logits and split_logits are None of heads that are not additive: declare "
        "Needs(additive_fusion=True), or do without. Needs(own_features=True) is for methods that make the features "
        "that the head is given, which then have no tokens and stages; fit.model.drop(features, ...) keeps these.",
        any_fusion_head,
    ),
)
