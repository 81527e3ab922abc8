"""How often each interval covers its target, and how often the primary test errs, on simulated binary correctness.

Run by hand: python tests/support/records/coverage_simulation.py --rounds 1000.
test_statistics_coverage.py runs a short version.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from mcr_bench.bench.statistics import samples
from mcr_bench.bench.statistics.families import holm
from mcr_bench.bench.statistics.intervals import Interval
from mcr_bench.bench.statistics.paired import compare_paired
from mcr_bench.bench.statistics.sign_flip import sign_flip

Array = NDArray[np.float64]
SEEDS, GROUPS = (5, 8, 10), (4, 14, 40)
LEAST = 0.93
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(41)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


@dataclass(frozen=True)
class Population:
    """Logit of being right: level of the method + normal effects with these standard deviations.

    group, sample: difficulty, common to both methods; group_method: how differently the methods take a group; seed:
    luck of a seed, per method; seed_group: their interaction; training: influence of the training groups, per method.
    """

    levels: tuple[float, float] = (0.6, 0.3)
    group: float = 0.6
    sample: float = 1.0
    group_method: float = 0.5
    seed: float = 0.2
    seed_group: float = 0.3
    training: float = 0.15
    per_group: int = 20

    def target(self, training: bool = False) -> float:
        """Expected difference of a on b over everything, by Gauss-Hermite quadrature."""
        parts = (self.group, self.sample, self.group_method, self.seed, self.seed_group, self.training * training)
        spread = float(np.sqrt(sum(s * s for s in parts)))
        a, b = (float(WEIGHTS @ expit(level + spread * NODES)) for level in self.levels)
        return a - b


POPULATIONS = {
    "balanced": Population(),
    "groups matter": Population(group_method=0.8, seed=0.05, seed_group=0.2),
    "seeds matter": Population(group_method=0.1, seed=0.5, seed_group=0.2, training=0.3),
}


@dataclass(frozen=True)
class Scene:
    """One data set: groups (N,) of the samples; fixed (2, N): what a method's logits share over seeds."""

    groups: NDArray[np.intp]
    fixed: Array


def scene(population: Population, groups: int, rng: np.random.Generator) -> Scene:
    sizes = np.maximum(population.per_group * rng.lognormal(0, 0.5, groups), 2).astype(int)
    label = np.repeat(np.arange(groups), sizes)
    common = rng.normal(0, population.group, groups)[label] + rng.normal(0, population.sample, len(label))
    own = rng.normal(0, population.group_method, (2, groups))[:, label]
    return Scene(label, np.array(population.levels)[:, None] + common + own)


def correct(population: Population, data: Scene, seeds: int, rng: np.random.Generator) -> Array:
    """Correctness (2, S, N) of both methods over seeds."""
    groups = int(data.groups.max()) + 1
    luck = rng.normal(0, population.seed, (2, seeds, 1))
    luck = luck + rng.normal(0, population.seed_group, (2, seeds, groups))[:, :, data.groups]
    return (rng.random(luck.shape) < expit(data.fixed[:, None] + luck)).astype(float)


def seeds_only(population: Population, seeds: int, groups: int, rng: np.random.Generator) -> tuple[Interval, float]:
    """Paired t over seeds; target: other seeds on the same test samples."""
    data = scene(population, groups, rng)
    a, b = correct(population, data, seeds, rng).mean(-1)
    spread = np.hypot(population.seed, population.seed_group)
    means = np.tensordot(WEIGHTS, expit(data.fixed + spread * NODES[:, None, None]), 1).mean(-1)
    return compare_paired(a, b).interval, float(means[0] - means[1])


def folds(population: Population, seeds: int, groups: int, rng: np.random.Generator) -> tuple[Interval, float]:
    """Corrected resampled t; seed s tests fold s mod F of at most five folds of groups; target: the population."""
    data = scene(population, groups, rng)
    count = min(5, groups)
    fold = rng.permutation(groups) % count
    influence = rng.normal(0, population.training, (2, groups))
    difference = []
    for s in range(seeds):
        trained = fold != s % count
        shift = influence[:, trained].sum(1, keepdims=True) / np.sqrt(trained.sum())
        tested = ~trained[data.groups]
        part = Scene(data.groups[tested], data.fixed[:, tested] + shift)
        a, b = correct(population, part, 1, rng).mean((1, 2))
        difference.append(a - b)
    interval = compare_paired(difference, np.zeros(seeds), overlap=1 / (count - 1)).interval
    return interval, population.target(training=True)


def groups_only(population: Population, seeds: int, groups: int, rng: np.random.Generator) -> tuple[Interval, float]:
    """Bootstrap-t over groups for the last seed's pair of runs; target: other groups, the same runs."""
    luck = rng.normal(0, population.seed, (seeds, 2))[-1]
    a, b = np.array(population.levels) + luck
    run = Population((a, b), population.group, population.sample, population.group_method, 0.0, population.seed_group)
    data = scene(run, groups, rng)
    right = correct(run, data, 1, rng)
    return samples.group_interval(right[0, 0] - right[1, 0], data.groups), run.target()


def seeds_and_groups(
    population: Population, seeds: int, groups: int, rng: np.random.Generator
) -> tuple[Interval, float]:
    """Crossed t over seeds and groups; target: the population."""
    data = scene(population, groups, rng)
    right = correct(population, data, seeds, rng)
    return samples.seeds_groups_interval(right[0] - right[1], data.groups), population.target()


Question = Callable[[Population, int, int, np.random.Generator], tuple[Interval, float]]
QUESTIONS: dict[str, Question] = {
    "paired t": seeds_only,
    "corrected t": folds,
    "group bootstrap-t": groups_only,
    "seeds x groups": seeds_and_groups,
}


def coverage(question: Question, population: Population, seeds: int, groups: int, rounds: int) -> float:
    """Share of the intervals that hold their target, those refused for want of spread left out; nan where none is.

    The rule on the fewest groups is lifted, so that what it forbids is measured too.
    """
    rng = np.random.default_rng(seeds * 100 + groups)
    with patch.object(samples, "FEWEST_GROUPS", 2):
        drawn = [question(population, seeds, groups, rng) for _ in range(rounds)]
    held = [target in interval for interval, target in drawn if not interval.refused]
    return float(np.mean(held)) if held else float("nan")


def family_errors(seeds: int, methods: int, rounds: int, correlation: float = 0.5) -> tuple[float, float]:
    """False-positive rate at .05 where no method differs: of one sign-flip test, and of any of the family after Holm.

    Methods share their baseline's noise, as all are compared with the same runs.
    """
    rng = np.random.default_rng(seeds)
    common, own = rng.standard_normal((seeds, rounds, 1)), rng.standard_normal((seeds, rounds, methods))
    noise = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own
    p = np.asarray(sign_flip(noise.reshape(seeds, -1))).reshape(rounds, methods)
    return float((p <= 0.05).mean()), float(np.mean([(holm(row) <= 0.05).any() for row in p]))


def main() -> None:
    """Print the coverage tables, a star on what is below 93 %, and the error rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    rounds = parser.parse_args().rounds
    for name, population in POPULATIONS.items():
        print(f"\n{name}: coverage at .95\n{'seeds x groups':>16s}", *(f"{q:>18s}" for q in QUESTIONS))
        for seeds, groups in ((s, g) for s in SEEDS for g in GROUPS):
            values = [coverage(q, population, seeds, groups, rounds) for q in QUESTIONS.values()]
            print(
                f"{seeds:>8d} x {groups:<5d}", *(f"{v:>17.3f}{'*' if v < LEAST else ' '}" for v in values), flush=True
            )
    print("\nfalse positives at .05: one test, any of 7 after Holm")
    for seeds in (5, 6, 8, 10):
        print(f"{seeds:>8d} seeds", *(f"{v:>8.4f}" for v in family_errors(seeds, 7, 6 * rounds)))


if __name__ == "__main__":
    main()
