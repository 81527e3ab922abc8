"""Many short runs of one command while something of it is killed at random, again and again."""

import os
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.runs.soak import Soak, soak

FAULT = Fault(
    "the command, a worker or a run is killed (kill -9) every few seconds, at random",
    "the same command goes on: no run is lost, none is recorded twice, and every metric equals the undisturbed one",
)
RUNS, EVERY = int(os.environ.get("MCR_BENCH_SOAK", "20")), 6.0  # each of five soaks; MCR_BENCH_SOAK=500 for a night
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are found in /proc, which is Linux's"),
]


@cache
def soaked(seed: int) -> Soak:
    """A soak of that seed, once for all of its trials."""
    with TemporaryDirectory() as folder:
        return soak(RUNS, EVERY, seed, Path(folder))


@pytest.mark.parametrize("what", ["lost", "duplicated", "wrong"])
@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_lost_doubled_or_wrong(seed: int, what: str) -> None:
    done = soaked(seed)
    assert done.runs == RUNS
    assert done.killed.total() > 0
    assert getattr(done, what) == 0, done
