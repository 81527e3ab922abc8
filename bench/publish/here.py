"""The data of a submission's runs on this machine: registered datasets alone, whatever else an archive names."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mcr_bench.bench.catalog.making import fingerprint_of, make_dataset
from mcr_bench.bench.core.guard import attempt
from mcr_bench.bench.core.inputs.sizes import most_bytes
from mcr_bench.bench.core.memory import limited
from mcr_bench.bench.problem.absent import having_any
from mcr_bench.bench.problem.overlaps import PARTS, Parts
from mcr_bench.bench.publish.rebuilt import STRANGE, Acting, below, is_registered
from mcr_bench.bench.record.row import RunRow
from mcr_bench.datasets.base import Dataset

DIALS = "dataset."  # begins the names of a dataset's settings
HEADROOM = 2**30  # bytes beside the samples: what libraries reserve on the way


@dataclass(frozen=True, eq=False)
class Samples:
    """The samples of a part: ids, groups (empty if unknown) and labels, (N,) or (N, L).

    present: modality -> (N,) bool, whether each sample has it; only modalities that some samples lack.
    """

    ids: Sequence[str]
    groups: Sequence[str]
    labels: Tensor
    present: Mapping[str, Tensor] = field(default_factory=dict)

    def by_id(self, groups: bool = True) -> dict[str, tuple[object, ...]]:
        """Id -> group and labels; without the groups where these are not to be compared."""
        rows = self.labels.reshape(len(self.ids), prod(self.labels.shape[1:])).float().tolist()
        names: Sequence[str] = self.groups if groups else [""] * len(self.ids)
        return {one: (group, *row) for one, group, row in zip(self.ids, names, rows, strict=True)}

    def seen_by(self, modalities: Collection[str]) -> "Samples":
        """The samples that have any of the modalities."""
        kept = having_any(self.present, modalities)
        if kept is None:
            return self
        at = kept.nonzero().flatten().tolist()
        present = {m: has[at] for m, has in self.present.items()}
        return Samples([self.ids[i] for i in at], [self.groups[i] for i in at if self.groups], self.labels[at], present)


@dataclass(frozen=True)
class Here:
    """What is here of the data of a run.

    metric: the metric of its protocol; "" if the protocol is unknown here.
    parts: part (train, val, test) -> the samples that the run has in it, see `completed`.
    train_labels: of all training samples, also of those that lack all modalities of the run.
    """

    metric: str
    parts: Mapping[str, Samples]
    train_labels: Tensor


class Data:
    """The data of runs, placed and read once each. root: the folder of prepared datasets."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._placed: dict[tuple[object, ...], Dataset | str] = {}
        self._read: dict[tuple[object, ...], Here | str] = {}
        self._indexed: dict[tuple[object, ...], dict[str, Samples]] = {}

    def acting(self, row: RunRow) -> Acting | None:
        """The dataset's word on which of its settings act; None where there is no such dataset here."""
        data = self._of(row)
        return None if isinstance(data, str) else data.acting

    def here(self, row: RunRow) -> Here | str:
        """The samples of a run's protocol, fold and seed, or why they are not available."""
        key = (*self._key(row), row.protocol, row.fold, row.seed, row.modalities)
        if key not in self._read:
            self._read[key] = attempt(partial(self._samples, row), str)
        return self._read[key]

    def _samples(self, row: RunRow) -> Here | str:
        data = self._of(row)
        if isinstance(data, str):
            return data
        with limited(most_bytes() + HEADROOM):  # a stranger's settings say how much is generated
            if fingerprint_of(data) != row.fingerprint:
                return "the data here has another fingerprint"
            protocol = data.protocols().get(row.protocol)
            every = self._parts(data, row)
            parts = {name: part if name == "test" else part.seen_by(row.modalities) for name, part in every.items()}
            return Here(protocol.metric if protocol else "", parts, every["train"].labels)

    def _parts(self, data: Dataset, row: RunRow) -> dict[str, Samples]:
        """Prepared data is read from its index; other data, which may be generated of the seed, is loaded."""
        if not data.needs_preparation:
            splits = data.load(row.protocol, row.fold, row.seed, row.modalities)
            named = {"train": splits.train, "val": splits.val, "test": splits.test}
            return {name: Samples(one.ids, one.groups or [], one.labels, one.present) for name, one in named.items()}
        key = (*self._key(row), row.protocol, row.fold)
        if key not in self._indexed:
            self._indexed[key] = _by_part(data.parts(row.protocol, row.fold))
        return self._indexed[key]

    def _of(self, row: RunRow) -> Dataset | str:
        key = self._key(row)
        if key not in self._placed:
            self._placed[key] = attempt(partial(self._make, row), str)
        return self._placed[key]

    def _make(self, row: RunRow) -> Dataset | str:
        if not is_registered(row):
            return f"it is {STRANGE}"
        return make_dataset(row.dataset, self._root, below(row, DIALS))

    def _key(self, row: RunRow) -> tuple[object, ...]:
        dials = sorted((k, str(v)) for k, v in below(row, DIALS).items())
        return row.dataset, row.dataset_source, row.fingerprint, *dials


def _by_part(parts: Parts) -> dict[str, Samples]:
    """Part -> its samples, from the index of prepared data."""
    groups, labels = list(parts.groups), np.asarray(parts.labels)
    made = dict[str, Samples]()
    for name in PARTS:
        at = np.flatnonzero(parts.part == name).tolist()
        ids, known = [parts.ids[i] for i in at], [groups[i] for i in at if groups]
        present = {m: torch.as_tensor(has[at]) for m, has in parts.present.items()}
        made[name] = Samples(ids, known, torch.as_tensor(labels[at]), present)
    return made
