"""A short version of coverage_simulation.py: intervals cover, and the primary test errs at most as often as it says."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "support/records/coverage_simulation.py"
ROUNDS = 400
SLACK = 0.035  # three standard errors of a coverage of .95 in so many rounds


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("coverage_simulation", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = script  # its dataclasses look their module up
    spec.loader.exec_module(script)
    return script


simulation = load()


@pytest.mark.parametrize("question", simulation.QUESTIONS)
def test_each_interval_covers(question: str) -> None:
    covered = simulation.coverage(simulation.QUESTIONS[question], simulation.Population(), 8, 14, ROUNDS)
    assert covered >= 0.95 - SLACK


def test_what_is_refused_at_four_groups_would_cover_too_rarely() -> None:
    seeds_and_groups = simulation.QUESTIONS["seeds x groups"]
    population = simulation.POPULATIONS["groups matter"]
    assert simulation.coverage(seeds_and_groups, population, 10, 4, ROUNDS) < simulation.LEAST
    assert seeds_and_groups(population, 10, 4, np.random.default_rng(0))[0].refused


def test_the_target_is_the_expected_difference() -> None:
    population = simulation.Population()
    rng = np.random.default_rng(0)
    scenes = [simulation.scene(population, 20, rng) for _ in range(800)]
    a, b = np.mean([simulation.correct(population, data, 20, rng).mean((1, 2)) for data in scenes], axis=0)
    assert a - b == pytest.approx(population.target(), abs=0.004)  # three standard errors


@pytest.mark.parametrize("seeds", [5, 6, 8, 10])
def test_the_primary_test_errs_at_most_at_alpha(seeds: int) -> None:
    one, family = simulation.family_errors(seeds, 7, 4000)
    assert one <= 0.05 + 0.005  # seven correlated tests a round: two standard errors
    assert family <= 0.05
    assert (one == 0.0) == (seeds == 5)  # which cannot reach alpha at all
    assert (family == 0.0) == (seeds < 9)


def test_ten_seeds_can_err() -> None:
    """The family's error is bounded, not zero: with ten seeds Holm over 7 leaves .0020 * 7 within reach."""
    assert 0 < simulation.family_errors(10, 7, 4000)[1] <= 0.05
