"""The claims of a comparison: every line tested against the baseline, and all pairs of lines."""

from dataclasses import dataclass

from mcr_bench.bench.analysis.compared import LOWER_IS_BETTER, Comparison
from mcr_bench.bench.analysis.sample_tests import SampleTests
from mcr_bench.bench.statistics.paired import Paired

ALPHA = 0.05
POWER = 0.8
Pair = tuple[int, int]


@dataclass(frozen=True)
class Against:
    """A line tested against the baseline.

    label: the line.
    mean: the mean of its runs, in points or in the unit of the metric.
    paired: the comparison of the pairs of runs, in the same unit.
    adjusted: p of the primary test after Holm's correction over its family, or over the explored lines.
    detectable: the smallest difference that this design finds with 80 % power; inf if it can find none.
    samples: the tests per sample, if predictions could be read.
    folds: the number of folds that the pairs cover.
    tested: whether this number of pairs can reach alpha in the family.
    primary: whether the method is in the family that was named before training; otherwise it is explored.
    """

    label: str
    mean: float
    paired: Paired
    adjusted: float
    detectable: float
    samples: SampleTests | None
    folds: int
    tested: bool
    primary: bool = True


@dataclass(frozen=True)
class AllPairs:
    """All pairs of lines, which are a family of their own.

    differences: (a, b) -> the mean difference a - b.
    adjusted: (a, b) -> p after Holm's correction over all pairs.
    """

    differences: dict[tuple[str, str], float]
    adjusted: dict[tuple[str, str], float]


@dataclass(frozen=True)
class Power:
    """What the design of a comparison can show.

    pairs: the number of pairs of the line that has most of them.
    comparisons: the number of tests in the family.
    smallest: the smallest p after Holm's correction that is possible.
    needed: the number of pairs with which alpha can be reached.
    reachable: whether any line of the family can reach alpha.
    detectable: the median over lines of the difference found with 80 % power.
    """

    pairs: int
    comparisons: int
    smallest: float
    needed: int
    reachable: bool
    detectable: float


@dataclass(frozen=True)
class Claims:
    """The statistics of a comparison.

    comparison: the runs that are compared.
    baseline: the label of the line that others are tested against.
    metric: the test metric.
    alpha: the family-wise error rate of the primary test.
    scale: 100 for a metric that is a share, whose differences are in points; otherwise 1.
    baseline_mean: the mean of the baseline's runs times `scale`.
    against: the tests of the other lines.
    pairs: all pairs of lines.
    power: what the design can show; None if nothing could be tested.
    notes: what a reader must know about the tests.
    """

    comparison: Comparison
    baseline: str
    metric: str
    alpha: float
    scale: float
    baseline_mean: float
    against: list[Against]
    pairs: AllPairs
    power: Power | None
    notes: list[str]

    @property
    def unit(self) -> str:
        """The unit of differences: points, or that of the metric."""
        return "points" if self.scale == 100 else self.metric

    @property
    def sign(self) -> int:
        """1 if a positive difference is an improvement, otherwise -1."""
        return -1 if self.metric in LOWER_IS_BETTER else 1

    @property
    def family(self) -> list[Against]:
        """The lines of the primary test."""
        return [one for one in self.against if one.primary]

    @property
    def explored(self) -> list[Against]:
        """The lines outside the family that was named before training."""
        return [one for one in self.against if not one.primary]

    @property
    def better(self) -> set[str]:
        """The labels that the primary test finds better than the baseline."""
        return self._separated(self.sign)

    @property
    def worse(self) -> set[str]:
        """The labels that the primary test finds worse than the baseline."""
        return self._separated(-self.sign)

    @property
    def untested(self) -> dict[str, int]:
        """Label -> its number of pairs, for the lines with too few pairs to reach alpha in this family."""
        return {one.label: one.paired.n for one in self.family if not one.tested}

    @property
    def neither(self) -> set[str]:
        """The labels that were tested and are neither better nor worse."""
        return {one.label for one in self.family} - self.better - self.worse - self.untested.keys()

    def superiority(self, one: Against) -> float:
        """The share of pairs in which the line is better than the baseline; a tie counts half."""
        return one.paired.superiority if self.sign > 0 else 1 - one.paired.superiority

    def _separated(self, sign: int) -> set[str]:
        significant = [one for one in self.family if one.adjusted <= self.alpha]
        return {one.label for one in significant if sign * one.paired.difference > 0}
