"""Checks of what a dataset declares: its card, its protocols and folds, and whether parts are disjoint as they say."""

import inspect

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.problem.metrics import metric
from mcr_bench.bench.problem.overlaps import audit, sentence
from mcr_bench.bench.settings.declaration import declared
from mcr_bench.bench.testing.card import Failed, NotApplicable
from mcr_bench.bench.testing.data.case import DataCase, apart, disturb, parts_of
from mcr_bench.bench.testing.effects import changes, draws
from mcr_bench.datasets.base import Card

DISTINCT = 0.45  # share of samples with a content of their own: below it, equal contents of two parts mean little


def loads(case: DataCase) -> None:
    """It can be made, and its default protocol loads."""
    if case.refused:
        raise Failed(case.refused)


def card(case: DataCase) -> None:
    """Docstring, title, licence and size are stated, and every setting has a text."""
    cls = type(case.made())
    own: Card = cls.card
    absent = [name for name in ("title", "expected") if not getattr(own, name)]
    if own.licence in ("", "not stated"):
        absent.append("licence")
    if absent:
        raise Failed(f"the card lacks {', '.join(absent)}")
    text = inspect.cleandoc(vars(cls).get("__doc__") or "")
    if not text or text.startswith(f"{cls.__name__}("):  # what @dataclass writes where there is none
        raise Failed("its class has no docstring")
    silent = [name for name, one in declared(cls).items() if not one.doc]
    if silent:
        raise Failed(f"the settings {', '.join(silent)} have no text")


def protocols(case: DataCase) -> None:
    """Every protocol has words, a known metric and folds, and each fold loads with no part empty."""
    data = case.made()
    task = data.facts().task
    for name, protocol in data.protocols().items():
        absent = [part for part in ("split", "selection", "metric") if not getattr(protocol, part)]
        if absent or not protocol.folds or len(set(protocol.folds)) < len(protocol.folds):
            raise Failed(f"protocol {name} lacks {', '.join(absent) or 'folds, each once'}")
        try:
            metric(protocol.metric, task)
        except UserError as error:
            raise Failed(f"protocol {name}: {error}") from error
    for name, fold in case.folds():
        data.require(name, fold)
        for part, split in parts_of(case.loaded(name, fold)).items():
            if not len(split):
                raise Failed(f"part {part} of protocol {name}, fold {fold}, is empty")


def folds_differ(case: DataCase) -> None:
    """Two folds of a protocol do not have the same samples in all parts."""
    seen: dict[str, dict[int, list[list[str]]]] = {}
    for name, fold in case.folds():
        ids = [sorted(part.ids) for part in parts_of(case.loaded(name, fold)).values()]
        for other, before in seen.setdefault(name, {}).items():
            if before == ids:
                raise Failed(f"folds {other} and {fold} of protocol {name} have the same samples in every part")
        seen[name][fold] = ids
    if all(len(of) == 1 for of in seen.values()):
        raise NotApplicable("no protocol has several folds")


def disjoint(case: DataCase) -> None:
    """Parts share no id, group or content, unless the protocol's note says so."""
    stated = case.made().protocols()
    for name, fold in case.folds():
        parts = case.made().parts(name, fold)
        overlaps = [
            one
            for one in audit(parts)
            if one.kind != "content" or len(set(parts.contents)) >= DISTINCT * len(parts.contents)
        ]
        if overlaps and not stated[name].note:
            kind = [one for one in overlaps if one.kind == overlaps[0].kind]
            raise Failed(f"protocol {name}, fold {fold}: {sentence(kind)}, and the protocol has no note about it")


def same_again(case: DataCase) -> None:
    """The same protocol, fold and seed give the same data, whatever was drawn before."""
    protocol, fold = case.default
    for seed in (0, 1):
        first = case.loaded(protocol, fold, seed)
        disturb(seed + 5)
        if what := apart(first, case.load(protocol, fold, seed)):
            raise Failed(f"a second load of seed {seed} differs in {what}")
    data = case.made()
    names = tuple(data.facts().modalities)
    if what := apart(data.load(protocol, fold, 0, names), data.load(protocol, fold, 0, names)):
        raise Failed(f"when one object loads twice, {what} differ: load() changes what it keeps")


def no_draws(case: DataCase) -> None:
    """Loading draws from no global generator."""
    protocol, fold = case.default
    drawn = draws(lambda: case.load(protocol, fold, 0))
    if drawn:
        raise Failed(f"load() moved {' and '.join(drawn)}")


def no_trace(case: DataCase) -> None:
    """Loading changes nothing else of the process."""
    protocol, fold = case.default
    left = changes(lambda: case.load(protocol, fold, 0))
    if left:
        raise Failed(f"load() changed the process: {'; '.join(left)}")
