"""What is claimed of a comparison: every line against the baseline, and all pairs."""

from dataclasses import dataclass

from mcr_bench.bench.analysis.compared import LOWER_IS_BETTER, Comparison
from mcr_bench.bench.analysis.sample_tests import SampleTests
from mcr_bench.bench.statistics.paired import Paired

ALPHA = 0.05
POWER = 0.8
Pair = tuple[int, int]


@dataclass(frozen=True)
class Against:
    """One method against the baseline. paired: in points, or the metric's units; adjusted: primary p after Holm.

    detectable: the smallest difference that this design finds with 80 % power, inf where it can find none.
    folds: how many its pairs cover. tested: whether so many pairs can reach alpha in this family.
    """

    label: str
    mean: float
    paired: Paired
    adjusted: float
    detectable: float
    samples: SampleTests | None
    folds: int
    tested: bool


@dataclass(frozen=True)
class AllPairs:
    """Every pair of lines, a family of its own: (a, b) -> difference a - b and p after Holm over all pairs."""

    differences: dict[tuple[str, str], float]
    adjusted: dict[tuple[str, str], float]


@dataclass(frozen=True)
class Power:
    """What the design can reach. pairs: of the best covered method; smallest: p after Holm; needed: pairs for alpha.

    reachable: whether any method of the family can reach alpha.
    """

    pairs: int
    comparisons: int
    smallest: float
    needed: int
    reachable: bool
    detectable: float


@dataclass(frozen=True)
class Claims:
    """The statistics of one comparison. better, worse: labels that the primary test separates from the baseline."""

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
        """Of differences."""
        return "points" if self.scale == 100 else self.metric

    @property
    def sign(self) -> int:
        """1 where a positive difference is an improvement."""
        return -1 if self.metric in LOWER_IS_BETTER else 1

    @property
    def better(self) -> set[str]:
        return self._separated(self.sign)

    @property
    def worse(self) -> set[str]:
        return self._separated(-self.sign)

    @property
    def untested(self) -> dict[str, int]:
        """The labels whose pairs are too few to reach alpha in this family, with their number."""
        return {one.label: one.paired.n for one in self.against if not one.tested}

    @property
    def neither(self) -> set[str]:
        """The labels that were tested and are neither better nor worse."""
        return {one.label for one in self.against} - self.better - self.worse - self.untested.keys()

    def superiority(self, one: Against) -> float:
        """Share of the pairs in which the method is better than the baseline, ties half."""
        return one.paired.superiority if self.sign > 0 else 1 - one.paired.superiority

    def _separated(self, sign: int) -> set[str]:
        significant = [one for one in self.against if one.adjusted <= self.alpha]
        return {one.label for one in significant if sign * one.paired.difference > 0}
