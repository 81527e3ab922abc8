"""The data of a submission's runs on this machine: registered datasets alone, whatever else an archive names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mcr_bench.bench.catalog.making import fingerprint_of, make_dataset
from mcr_bench.bench.core.guard import attempt
from mcr_bench.bench.core.inputs.sizes import most_bytes
from mcr_bench.bench.core.memory import limited
from mcr_bench.bench.publish.rebuilt import STRANGE, Acting, below, is_registered
from mcr_bench.bench.record.row import RunRow
from mcr_bench.datasets.base import Dataset

DIALS = "dataset."  # begins the names of a dataset's settings
HEADROOM = 2**30  # bytes beside the samples: what libraries reserve on the way


@dataclass(frozen=True, eq=False)
class Samples:
    """The samples of a part: ids, groups (empty if unknown) and labels, (N,) or (N, L)."""

    ids: Sequence[str]
    groups: Sequence[str]
    labels: Tensor

    def by_id(self, groups: bool = True) -> dict[str, tuple[object, ...]]:
        """Id -> group and labels; without the groups where these are not to be compared."""
        rows = self.labels.reshape(len(self.ids), -1).float().tolist()
        names: Sequence[str] = self.groups if groups else [""] * len(self.ids)
        return {one: (group, *row) for one, group, row in zip(self.ids, names, rows, strict=True)}


@dataclass(frozen=True)
class Here:
    """What is here of the data of a run.

    metric: the metric of its protocol; "" if the protocol is unknown here.
    parts: part (train, val, test) -> its samples.
    """

    metric: str
    parts: Mapping[str, Samples]


class Data:
    """The data of runs, placed and read once each. root: the folder of prepared datasets."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._placed: dict[tuple[object, ...], Dataset | str] = {}
        self._read: dict[tuple[object, ...], Here | str] = {}

    def acting(self, row: RunRow) -> Acting | None:
        """The dataset's word on which of its settings act; None where there is no such dataset here."""
        data = self._of(row)
        return None if isinstance(data, str) else data.acting

    def here(self, row: RunRow) -> Here | str:
        """The samples of a run's protocol, fold and seed, or why they are not available."""
        key = (*self._key(row), row.protocol, row.fold, row.seed)
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
            return Here(protocol.metric if protocol else "", _parts(data, row))

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


def _parts(data: Dataset, row: RunRow) -> dict[str, Samples]:
    """Prepared data is read from its index; other data, which may be generated of the seed, is loaded."""
    if data.needs_preparation:
        parts = data.parts(row.protocol, row.fold)
        rows = {name: np.flatnonzero(parts.part == name).tolist() for name in ("train", "val", "test")}
        groups = list(parts.groups)
        return {
            name: Samples(
                [parts.ids[i] for i in at],
                [groups[i] for i in at] if groups else [],
                torch.as_tensor(np.asarray(parts.labels)[at]),
            )
            for name, at in rows.items()
        }
    splits = data.load(row.protocol, row.fold, row.seed, row.modalities)
    named = {"train": splits.train, "val": splits.val, "test": splits.test}
    return {name: Samples(split.ids, split.groups or [], split.labels) for name, split in named.items()}
