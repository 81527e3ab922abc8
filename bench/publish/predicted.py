"""The predictions of a run as a stranger's file holds them: everything about their form is checked."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from mcr_bench.bench.errors import one_line
from mcr_bench.bench.problem.metrics import SENTIMENT
from mcr_bench.bench.record.files.scores import UNREADABLE, labels_of, opened
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.task import Task
from mcr_bench.bench.units import Unit, Units
from mcr_bench.bench.words import number_of

PARTS = {"val": "selected_val", "test": "test"}  # part -> how the names of its metrics begin
FIRST = "data/target_"


class Unsound(ValueError):
    """What is wrong with a file of predictions, in words."""


@dataclass(frozen=True, eq=False)
class Predicted:
    """The N samples of a part with everything that was predicted for them.

    ids, groups: the N ids and groups.
    labels: (N,), or (N, L) where a sample has several, in the user's unit.
    logits: the prediction, (N, C).
    own: modality -> (N,) or (N, L), the labels of the modality alone, where the data has such.
    present: modality -> (N,) bool, whether a sample has it; only modalities that some samples lack.
    modality: modality -> the prediction (N, C) from it alone.
    split: modality -> its share (N, C) of the logits of an additive head.
    subsets: modalities -> the prediction (N, C) from these.
    """

    ids: list[str]
    groups: list[str]
    labels: Tensor
    logits: Tensor
    own: dict[str, Tensor] = field(default_factory=dict)
    present: dict[str, Tensor] = field(default_factory=dict)
    modality: dict[str, Tensor] = field(default_factory=dict)
    split: dict[str, Tensor] = field(default_factory=dict)
    subsets: dict[tuple[str, ...], Tensor] = field(default_factory=dict)


def predictions_in(content: bytes) -> dict[str, Predicted]:
    """Part -> its predictions, from the content of a predictions.parquet; `Unsound` where it is not such a file."""
    try:
        with opened(content) as parquet:
            table = parquet.read(use_threads=False)
        parts = {part: _part(table.filter(pc.equal(table["part"], part))) for part in PARTS}
        known = sum(len(part.ids) for part in parts.values())
    except (OSError, RuntimeError, *UNREADABLE) as error:
        raise Unsound(one_line(str(error), 200)) from error
    if known < table.num_rows:
        raise Unsound(f"{table.num_rows - known} of its samples are neither of the validation nor of the test part")
    for name, part in parts.items():
        _require_sound(name, part)
    return parts


def task_of(row: RunRow, predicted: Predicted) -> Task:
    """What a run learned, by the form of its labels and the names of its metrics."""
    labels, width = predicted.labels, predicted.logits.shape[1]
    if not labels.is_floating_point():
        return Task(None, labels=width) if labels.ndim > 1 else Task(width)
    if labels.ndim > 1:
        units = tuple(_unit(row, f"_{k}") for k in range(width))
        return Task(None, scores=width, unit=Units(units) if any(unit != Unit() for unit in units) else Unit())
    scales = (scale for scale, own in SENTIMENT.items() if any(f"test/{metric.name}" in row.metrics for metric in own))
    return Task(None, unit=_unit(row, ""), sentiment=next(scales, 0))


def _unit(row: RunRow, end: str) -> Unit:
    mean, size = (row.metrics.get(f"{FIRST}{name}{end}") for name in ("mean", "size"))
    return Unit() if mean is None or not size else Unit(mean, size)


def _part(table: pa.Table) -> Predicted:
    names = [name for name in table.column_names if name != "part"]
    if empty := [name for name in names if table[name].null_count]:
        raise Unsound(f"its column '{one_line(empty[0])}' has empty cells")
    below = {head: {n.removeprefix(f"{head}/"): _tensor(table[n]) for n in names if n.startswith(f"{head}/")}
             for head in ("label", "present", "modality", "split", "subset")}  # fmt: skip
    return Predicted(
        ids=_texts(table, "id"),
        groups=_texts(table, "group"),
        labels=_tensor(table["label"]),
        logits=_tensor(table["logits"]),
        own=below["label"],
        present={m: has.bool() for m, has in below["present"].items()},
        modality=below["modality"],
        split=below["split"],
        subsets={tuple(filter(None, name.split("+"))): z for name, z in below["subset"].items()},
    )


def _texts(table: pa.Table, name: str) -> list[str]:
    texts: list[str] = table[name].to_pylist()
    if not all(isinstance(text, str) for text in texts):
        raise Unsound(f"its column '{name}' does not hold texts")
    return texts


def _tensor(column: pa.ChunkedArray) -> Tensor:
    if not len(column):
        raise Unsound("a part has no samples")
    return torch.from_numpy(np.array(labels_of(column)))


def _require_sound(name: str, part: Predicted) -> None:
    twice = [one for one, count in Counter(part.ids).items() if count > 1]
    if twice:
        raise Unsound(
            f"its {name} part has {number_of(len(twice), 'id')} more than once, such as '{one_line(twice[0], 60)}'"
        )
    every = {"logits": part.logits, **part.modality, **part.split, **{"+".join(s): z for s, z in part.subsets.items()}}
    for what, logits in every.items():
        if logits.shape != part.logits.shape or logits.ndim != 2 or not logits.is_floating_point():
            raise Unsound(f"its predictions '{one_line(what, 60)}' are not numbers of one shape")
        if not logits.isfinite().all():
            raise Unsound(f"its predictions '{one_line(what, 60)}' are not finite")
    for m, own in part.own.items():
        if own.shape != part.labels.shape or own.is_floating_point() != part.labels.is_floating_point():
            raise Unsound(f"its labels of '{one_line(m, 60)}' alone do not have the form of its labels")
    for m, has in part.present.items():
        if has.ndim != 1:
            raise Unsound(f"its column 'present/{one_line(m, 60)}' does not say yes or no for each sample")
    classes = not part.labels.is_floating_point() and part.labels.ndim == 1
    if classes and not ((part.labels >= 0) & (part.labels < part.logits.shape[1])).all():
        raise Unsound(f"a label of its {name} part is none of its {part.logits.shape[1]} classes")
