"""Samples that lack a modality: what takes its place, and which samples a run can learn from."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import reduce
from operator import or_

import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.problem.samples import Rows, Split, Splits


def completed(splits: Splits) -> Splits:
    """The parts with every absent modality as its mean training input, over the training samples that have it.

    Training and validation leave out the samples that lack all modalities of the run, of which nothing can be learned;
    the test part keeps them, so that all runs of a comparison predict the same samples. A part in which all samples
    have a modality no longer says so in `present`. UserError where no training sample has one.
    """
    parts = (splits.train, splits.val, splits.test)
    if not any(part.present for part in parts):
        return splits
    _check(splits)
    means, lengths = splits.train.mean(), splits.train.mean_lengths()
    train, val, test = (_filled(part, means, lengths) for part in parts)
    return replace(splits, train=_learnable(train, "training"), val=_learnable(val, "validation"), test=test)


def presence(present: Mapping[str, Tensor], modality: str, count: int) -> Tensor:
    """(N,) bool, whether each of `count` samples has the modality. present: as in `Split`.

    >>> presence({"audio": torch.tensor([True, False])}, "video", 2)
    tensor([True, True])
    """
    return present.get(modality, torch.ones(count, dtype=torch.bool))


def having_any(present: Mapping[str, Tensor], modalities: Collection[str]) -> Tensor | None:
    """(N,) bool, whether each sample has any of the modalities; None where all samples have one of them.

    present: modality -> (N,) bool, as in `Split`.

    >>> having_any({"audio": torch.tensor([True, False])}, ["audio"])
    tensor([ True, False])
    >>> having_any({"audio": torch.tensor([True, False])}, ["audio", "video"]) is None
    True
    """
    known = [present[m] for m in modalities if m in present]
    return reduce(or_, known) if len(known) == len(modalities) else None


def _check(splits: Splits) -> None:
    for part in (splits.train, splits.val, splits.test):
        for m in part.present:
            if isinstance(part.values[m], Rows):
                raise UserError(
                    f"'{m}' is missing from some samples, but its samples stay on disk, where no mean can take their "
                    "place. Give it as a tensor in memory, or leave these samples out."
                )
    for m, present in splits.train.present.items():
        if not present.any():
            raise UserError(
                f"no training sample has the modality '{m}', so nothing can be learned about it. Put samples that have "
                f"it into the training part, or leave '{m}' out (--modalities)."
            )


def _filled(part: Split, means: dict[str, Tensor], lengths: dict[str, Tensor]) -> Split:
    """The part with means where a modality is absent."""
    values, steps = dict(part.values), dict(part.lengths)
    for m, present in part.present.items():
        x = part.values[m]
        assert isinstance(x, Tensor)
        at = present.reshape(-1, *[1] * (x.ndim - 1))
        values[m] = torch.where(at, x, means[m].to(x))
        if m in steps:
            steps[m] = torch.where(present, steps[m], lengths[m])
    lacked = {m: present for m, present in part.present.items() if not present.all()}
    return replace(part, values=values, lengths=steps, present=lacked)


def _learnable(part: Split, name: str) -> Split:
    """The samples of a part that have a modality at least; UserError where there is none."""
    kept = having_any(part.present, part.values)
    if kept is None or kept.all():
        return part
    if not kept.any():
        raise UserError(
            f"no {name} sample has any of the modalities {', '.join(part.values)}. Put samples that have them into the "
            f"{name} part, or choose other modalities (--modalities)."
        )
    return _chosen(part, kept)


def _chosen(part: Split, kept: Tensor) -> Split:
    """The samples of a part in memory at which `kept` (N,) bool is set."""
    rows = kept.nonzero().flatten()
    values = {m: x[rows] for m, x in part.values.items()}
    present = {m: has[rows] for m, has in part.present.items()}
    return replace(
        part,
        values=values,
        target=part.target[rows],
        ids=[part.ids[i] for i in rows.tolist()],
        groups=None if part.groups is None else [part.groups[i] for i in rows.tolist()],
        lengths={m: n[rows] for m, n in part.lengths.items()},
        scores=None if part.scores is None else part.scores[rows],
        present={m: has for m, has in present.items() if not has.all()},
        own={m: truth.at(rows) for m, truth in part.own.items()},
    )
