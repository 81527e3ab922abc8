"""Describe a dataset in one line and its notices, before anything is trained: the same for every dataset."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mcr_bench.bench.core.arrays import Array

if TYPE_CHECKING:
    from mcr_bench.datasets.base import Facts

Labels = Mapping[str, Array]  # part -> targets (n,)
NAMED = 3  # the number of classes that a notice names; it counts the others
# Limits of our choice. One of 100 test samples is a point of accuracy; at ten to one accuracy says little.
SMALL_TEST = 100
IMBALANCE = 10


@dataclass(frozen=True)
class Overview:
    """A dataset under one protocol.

    dataset: its name.
    protocol: the name of the protocol.
    fold: the fold that is described.
    folds: the number of folds.
    classes: the number of classes; None for a regression and for several labels.
    sizes: part -> number of samples; empty if it is not known without decoding.
    modalities: modality -> the shape of a sample.
    encoders: modality -> the kinds of encoders that its runs use.
    majority: the share of the largest class in the training part.
    spread: the lowest and highest score of the training part, and their standard deviation.
    notices: what looks wrong in the data.
    labels: the number of labels of which a sample may have several; None for other tasks.
    scores: the number of scores per sample if there are several; None for other tasks.
    """

    dataset: str
    protocol: str
    fold: int
    folds: int
    classes: int | None
    sizes: dict[str, int]
    modalities: dict[str, tuple[int, ...]]
    encoders: dict[str, list[str]] = field(default_factory=dict)
    majority: float | None = None
    spread: tuple[float, float, float] | None = None
    notices: tuple[str, ...] = ()
    labels: int | None = None
    scores: int | None = None

    @property
    def line(self) -> str:
        """The description, such as `mine.npz: 3 classes · 400/100/100 · voice (16,) -> mlp · majority 34 %`."""
        fold = f" (fold {self.fold} of {self.folds})" if self.folds > 1 else ""
        parts = [self._task]
        parts += ["/".join(map(str, self.sizes.values())) + fold] if self.sizes else []
        parts += [f"{m} {shape} -> {' or '.join(self.encoders.get(m, ['?']))}" for m, shape in self.modalities.items()]
        if self.majority is not None:
            parts.append(f"majority {100 * self.majority:.0f} %")
        if self.spread is not None:
            low, high, deviation = self.spread
            parts.append(f"target {low:.4g} to {high:.4g}, standard deviation {deviation:.3g}")
        return f"{self.dataset}: {' · '.join(parts)}"

    @property
    def _task(self) -> str:
        if self.labels is not None:
            return f"{self.labels} labels"
        if self.classes is None:
            return "regression" if self.scores is None else f"regression of {self.scores} scores"
        return f"{self.classes} classes"

    @property
    def text(self) -> str:
        """The line, and one line for each notice."""
        return "\n".join([self.line, *(f"  notice: {notice}." for notice in self.notices)])

    @property
    def data(self) -> dict[str, object]:
        """The overview as plain data, for JSON."""
        return {**vars(self), "line": self.line, "notices": list(self.notices)}


def overview(
    facts: "Facts",
    labels: Mapping[int, Labels],
    findings: Sequence[str] = (),
    *,
    dataset: str,
    protocol: str,
    folds: int,
    modalities: Sequence[str],
    encoders: Mapping[str, list[str]],
) -> Overview:
    """The overview of a dataset. Its line describes the first fold in use, its notices all of them.

    facts: its task and modalities.
    labels: fold in use -> part -> labels (n,).
    findings: what is odd in the samples.
    folds: the number of folds of the protocol.
    encoders: modality -> the kinds of encoders that its runs use.
    """
    fold, first = next(iter(labels.items()))
    trained = first.get("train")
    known = trained is not None and len(trained) > 0
    return Overview(
        dataset,
        protocol,
        fold,
        folds,
        facts.task.classes,
        {part: len(target) for part, target in first.items()},
        {m: facts.modalities[m].shape for m in modalities},
        dict(encoders),
        majority_share(trained) if known and trained is not None and facts.task.classes else None,
        spread_of(trained) if known and trained is not None and trained.ndim == 1 and facts.task.regression else None,
        (*facts.notes, *findings, *_of_labels(facts, labels)),
        facts.task.labels,
        facts.task.scores,
    )


def majority_share(target: Array) -> float:
    """The share of the most frequent class in labels (n,).

    >>> majority_share(np.array([0, 2, 2, 1]))
    0.5
    """
    return float(np.unique(target, return_counts=True)[1].max() / len(target))


def spread_of(target: Array) -> tuple[float, float, float]:
    """The lowest and highest of scores (n,), and their standard deviation.

    >>> spread_of(np.array([1.0, 3.0]))
    (1.0, 3.0, 1.0)
    """
    return float(target.min()), float(target.max()), float(target.astype(np.float64).std())


def _of_labels(facts: "Facts", labels: Mapping[int, Labels]) -> Iterator[str]:
    """The notices about labels, each with its folds unless it holds for all folds in use."""
    where: dict[str, list[int]] = {}
    for fold, parts in labels.items():
        for notice in _notices(facts, parts):
            where.setdefault(notice, []).append(fold)
    for notice, folds in where.items():
        yield notice if len(folds) == len(labels) else f"fold {', '.join(map(str, folds))}: {notice}"


def _notices(facts: "Facts", parts: Labels) -> Iterator[str]:
    if facts.task.classes is not None:
        yield from _absent(facts.class_names, facts.task.classes, {p: set(y.tolist()) for p, y in parts.items()})
        yield from _imbalance(facts.class_names, parts)
    if facts.task.labels is not None:
        held = {part: set(np.flatnonzero((y > 0).any(0)).tolist()) for part, y in parts.items()}
        yield from _absent(facts.class_names, facts.task.labels, held, "label")
    test = parts.get("test")
    if test is not None and 0 < len(test) < SMALL_TEST:
        share = "" if facts.task.regression else f" (one is {100 / len(test):.1f} points of accuracy)"
        yield f"the test part has {len(test)} samples{share}: small differences on it are within chance"


def _absent(names: Sequence[str], classes: int, held: Mapping[str, set[int]], noun: str = "class") -> Iterator[str]:
    """A notice of the classes or labels that a part lacks; those that no part has are reported by the dataset.

    held: part -> the classes that it has.
    """
    anywhere = set().union(*held.values())
    for part, here in held.items():
        absent = [_name(names, c) for c in range(classes) if c in anywhere and c not in here]
        if absent:
            yield f"absent from {part}: {_listed(absent, noun)}"


def _imbalance(names: Sequence[str], parts: Labels) -> Iterator[str]:
    target = parts.get("train")
    if target is None or not len(target):
        return
    values, counts = np.unique(target, return_counts=True)
    if counts.max() >= IMBALANCE * counts.min():
        most, least = int(values[counts.argmax()]), int(values[counts.argmin()])
        yield (
            f"strong imbalance in train: {counts.max()} samples of class '{_name(names, most)}', {counts.min()} of "
            f"class '{_name(names, least)}'; read macro-F1 beside the accuracy"
        )


def _name(names: Sequence[str], number: int) -> str:
    return names[number] if number < len(names) else str(number)


def _listed(names: Sequence[str], noun: str) -> str:
    """The classes in words: `1 class ('7')`, or `5 classes ('a', 'b', 'c', 2 more)`."""
    told = [f"'{name}'" for name in names[:NAMED]] + ([f"{len(names) - NAMED} more"] if len(names) > NAMED else [])
    ending = "" if len(names) == 1 else "es" if noun.endswith("s") else "s"
    return f"{len(names)} {noun}{ending} ({', '.join(told)})"
