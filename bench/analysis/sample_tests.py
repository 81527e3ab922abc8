"""Secondary tests on stored predictions: McNemar per pair of runs, intervals over groups and over seeds and groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mcr_bench.bench.statistics.intervals import Interval
from mcr_bench.bench.statistics.samples import group_interval, is_binary, mcnemar, seeds_groups_interval

if TYPE_CHECKING:
    from mcr_bench.bench.record.files.samples import Samples

Scores = Mapping[str, Mapping[tuple[int, int], "Samples"]]


@dataclass(frozen=True)
class SampleTests:
    """The tests of a line against the baseline on the test samples.

    runs: the number of pairs of runs whose predictions could be read.
    pairs: the number of all pairs of runs.
    grouped: whether the data name groups; otherwise every sample is a group of its own.
    mcnemar: p of McNemar's test of each pair of runs; empty if scores are not right or wrong.
    groups: the interval of the difference over groups, in points or the metric's unit.
    seeds_groups: the interval over seeds and groups, in the same unit.
    """

    runs: int
    pairs: int
    grouped: bool
    mcnemar: list[float]
    groups: Interval
    seeds_groups: Interval

    @property
    def median_mcnemar(self) -> float | None:
        """The median p over pairs of runs, which cannot be pooled because they have the same test samples."""
        return median(self.mcnemar) if self.mcnemar else None


def sample_tests(
    scores: Scores, label: str, baseline: str, pairs: Sequence[tuple[int, int]], scale: float
) -> SampleTests | None:
    """Test `label` against `baseline` on the test samples; None if no pair of runs has predictions on record.

    scores: label -> (seed, fold) -> scores per sample. Differences are multiplied by `scale`.
    """
    mine, base = scores.get(label, {}), scores.get(baseline, {})
    both = [(mine[p], base[p]) for p in pairs if p in mine and p in base]
    rows = [_difference(a, b) for a, b in both]
    if not rows:
        return None
    differences, groups = _matrix(rows)
    binary = all(is_binary(s.score) for pair in both for s in pair)
    known = ~np.isnan(differences)
    means = np.where(known, differences, 0).sum(0) / known.sum(0)
    return SampleTests(
        len(both),
        len(pairs),
        any(not np.array_equal(s.groups, s.ids) for s in both[0]),
        [_mcnemar(a, b) for a, b in both] if binary else [],
        group_interval(means * scale, groups),
        seeds_groups_interval(differences * scale, groups),
    )


def _common(a: "Samples", b: "Samples") -> tuple[NDArray[np.int_], NDArray[np.int_]] | None:
    """The positions, (n,) each, of the samples that both runs predicted; None if these are the same in one order."""
    if a.ids is b.ids or np.array_equal(a.ids, b.ids):
        return None
    _, left, right = np.intersect1d(a.ids, b.ids, return_indices=True)
    return left, right


def _difference(a: "Samples", b: "Samples") -> tuple[NDArray[np.str_], NDArray[np.str_], NDArray[np.float64]]:
    """Ids, groups and differences of scores, (n,) each, of the n common samples."""
    common = _common(a, b)
    if common is None:
        return a.ids, a.groups, a.score.astype(np.float64) - b.score
    left, right = common
    return a.ids[left], a.groups[left], a.score[left].astype(np.float64) - b.score[right]


def _mcnemar(a: "Samples", b: "Samples") -> float:
    common = _common(a, b)
    return mcnemar(a.score, b.score) if common is None else mcnemar(a.score[common[0]], b.score[common[1]])


def _matrix(
    rows: Sequence[tuple[NDArray[np.str_], NDArray[np.str_], NDArray[np.float64]]],
) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Differences (S, N), nan if a row lacks the sample, and the groups (N,)."""
    ids, groups, _ = rows[0]
    if all(other is ids or np.array_equal(other, ids) for other, _, _ in rows):
        return np.stack([d for _, _, d in rows]), groups
    every, first = np.unique(np.concatenate([i for i, _, _ in rows]), return_index=True)
    matrix = np.full((len(rows), len(every)), np.nan)
    for row, (names, _, d) in zip(matrix, rows, strict=True):
        row[np.searchsorted(every, names)] = d
    return matrix, np.concatenate([g for _, g, _ in rows])[first]
