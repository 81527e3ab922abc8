"""Checks of what a dataset loads: it is what the facts say, finite, and the same when it is asked for in other ways."""

from collections import Counter
from dataclasses import replace

import torch
from torch import Tensor

from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.problem.samples import Split, Splits
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.card import Failed, NotApplicable
from mcr_bench.bench.testing.data.case import DataCase, apart, parts_of, values_of


def facts(case: DataCase) -> None:
    """Every part has the modalities, shapes, dtypes and lengths that `facts` states, and one id and target each."""
    stated = case.made().facts()
    if stated.task.classes and stated.class_names and len(stated.class_names) != stated.task.classes:
        raise Failed(f"facts() names {len(stated.class_names)} classes of {stated.task.classes}")
    if twice := [name for name, count in Counter(stated.class_names).items() if count > 1]:
        raise Failed(f"facts() gives several classes the name '{twice[0]}'")
    for name, part in parts_of(case.loaded(*case.default)).items():
        if list(part.values) != list(stated.modalities):
            raise Failed(f"part {name} has {', '.join(part.values)}; facts() says {', '.join(stated.modalities)}")
        if not len(part):
            raise Failed(f"part {name} is empty")
        for m, modality in stated.modalities.items():
            _check_values(part, name, m, modality)
        for m, present in part.present.items():
            _check_presence(present, part, m, name)
        if part.groups is not None and len(part.groups) != len(part):
            raise Failed(f"part {name} has {len(part.groups)} groups for {len(part)} samples")


def _check_values(part: Split, name: str, m: str, modality: Modality) -> None:
    shape = tuple(part.values[m].shape)
    if shape != (len(part), *modality.shape):
        raise Failed(f"'{m}' of part {name} is {shape}; facts() says {(len(part), *modality.shape)}")
    values = values_of(part, m)
    needed = torch.int64 if modality.vocabulary else torch.float32
    if values.dtype != needed:
        raise Failed(f"'{m}' of part {name} is {values.dtype}; needed: {needed}")
    if modality.vocabulary and not 0 <= int(values.min()) <= int(values.max()) < modality.vocabulary:
        raise Failed(f"'{m}' of part {name} has ids outside of 0 to {modality.vocabulary - 1}")
    if modality.padded != (m in part.lengths):
        raise Failed(
            f"'{m}' is padded={modality.padded} in facts(), but part {name} gives it lengths={m in part.lengths}"
        )
    if modality.padded:
        _check_lengths(part, name, m, values)


def _check_presence(present: Tensor, part: Split, m: str, name: str) -> None:
    if m not in part.values:
        raise Failed(f"part {name} says which samples have '{m}', which is not a modality of facts()")
    if present.shape != (len(part),) or present.dtype != torch.bool:
        raise Failed(f"present of '{m}' in part {name} is {tuple(present.shape)} {present.dtype}; needed: (N,) bool")
    if name == "train" and not present.any():
        raise Failed(f"no training sample has '{m}'")


def _check_lengths(part: Split, name: str, m: str, values: Tensor) -> None:
    lengths, steps = part.lengths[m], values.shape[1]
    if lengths.shape != (len(part),) or lengths.dtype != torch.int64:
        raise Failed(f"lengths of '{m}' in part {name} are {tuple(lengths.shape)} {lengths.dtype}; needed: (N,) int64")
    if int(lengths.min()) < 1 or int(lengths.max()) > steps:
        raise Failed(f"lengths of '{m}' in part {name} are {lengths.min()} to {lengths.max()}; needed: 1 to {steps}")
    padded = torch.arange(steps) >= lengths[: len(values), None]
    if values[padded].any():
        raise Failed(f"padded steps of '{m}' in part {name} are not 0")


def finite(case: DataCase) -> None:
    """Inputs and targets are finite numbers."""
    for name, part in parts_of(case.loaded(*case.default)).items():
        for m in part.values:
            x = values_of(part, m).clone()
            x[~part.presence(m)[: len(x)]] = 0  # of samples that lack it they may be anything
            _require_finite(x, f"'{m}' of part {name}")
        _require_finite(part.labels, f"the target of part {name}")


def _require_finite(x: Tensor, what: str) -> None:
    wrong = ~torch.isfinite(x.reshape(len(x), -1)).all(1)
    if wrong.any():
        first = int(wrong.nonzero()[0])
        raise Failed(f"{what} has numbers that are not finite in {int(wrong.sum())} samples, first in number {first}")


def labels(case: DataCase) -> None:
    """Targets are what the task states, and every class is in the training part."""
    task = case.made().facts().task
    splits = case.loaded(*case.default)
    for name, part in parts_of(splits).items():
        if len(part.target) != len(part):
            raise Failed(f"part {name} has {len(part.target)} targets and {len(part)} ids")
        _check_target(part.target, name, task)
    absent = [place for place, count in enumerate(_counts(splits.train.target, task)) if not count]
    if absent and "classes_absent_from_train" not in splits.notes:
        raise Failed(f"the training part has no sample of the classes {absent[:10]}")


def _counts(target: Tensor, task: Task) -> list[int]:
    """Training samples of each class, or with each label; none for scores."""
    if task.labels:
        return [int(count) for count in target.sum(0)]
    return torch.bincount(target, minlength=task.classes).tolist() if task.classes else []


def _check_target(target: Tensor, name: str, task: Task) -> None:
    axes = (len(target), *([task.outputs] if task.labels or task.scores else []))
    kind = torch.int64 if task.classes else torch.float32
    if tuple(target.shape) != axes or target.dtype != kind:
        raise Failed(f"the target of part {name} is {tuple(target.shape)} {target.dtype}; needed: {axes} {kind}")
    if task.classes and not 0 <= int(target.min()) <= int(target.max()) < task.classes:
        raise Failed(
            f"the classes of part {name} are {int(target.min())} to {int(target.max())}; facts() says that there are "
            f"{task.classes}, from 0 on"
        )
    if task.labels and not ((target == 0) | (target == 1)).all():
        raise Failed(f"the labels of part {name} are not 0 and 1 alone")


def ids(case: DataCase) -> None:
    """The ids are text, and each is that of one sample."""
    for name, part in parts_of(case.loaded(*case.default)).items():
        strangers = [one for one in part.ids if not isinstance(one, str)]
        if strangers:
            raise Failed(f"part {name} has an id that is not text: {strangers[0]!r}")
        twice = [one for one, count in Counter(part.ids).items() if count > 1]
        if twice:
            raise Failed(f"part {name} has {len(twice)} ids of several samples, such as '{twice[0]}'")


def labels_agree(case: DataCase) -> None:
    """`labels` gives what `load` gives."""
    protocol, fold = case.default
    given = case.made().labels(protocol, fold, 0)
    if not given:
        raise NotApplicable("labels() gives none before the data is loaded")
    for name, part in parts_of(case.loaded(protocol, fold)).items():
        if name not in given:
            raise Failed(f"labels() has no part {name}")
        told, own = torch.as_tensor(given[name]), part.labels
        if told.shape != own.shape or not torch.equal(told.double(), own.double()):
            raise Failed(f"labels() and load() differ in part {name}: {told.tolist()[:5]}... and {own.tolist()[:5]}...")


def subsets(case: DataCase) -> None:
    """Each modality alone, and all of them in another order, are the same samples."""
    protocol, fold = case.default
    whole = case.loaded(protocol, fold)
    names = tuple(whole.train.values)
    asked = [(m,) for m in names] if len(names) > 1 else []
    for some in [*asked, names[::-1]]:
        given = case.load(protocol, fold, 0, some)
        for name, part in parts_of(given).items():
            absent = [m for m in some if m not in part.values]
            if absent:
                raise Failed(f"load() for {', '.join(some)} gives part {name} without {', '.join(absent)}")
        if what := apart(_only(given, some), _only(whole, some)):
            raise Failed(f"{what} are others if {', '.join(some)} is loaded than if {', '.join(names)} is")


def _only(splits: Splits, modalities: tuple[str, ...]) -> Splits:
    """The parts with these modalities alone."""
    parts = {
        name: replace(part, values={m: part.values[m] for m in modalities}) for name, part in parts_of(splits).items()
    }
    return replace(splits, train=parts["train"], val=parts["val"], test=parts["test"])
