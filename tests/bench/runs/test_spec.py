"""Keys of runs: what decides a result changes them, what does not leaves them alone."""

import re
from dataclasses import replace

import pytest

from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.tests.support.records.many_runs import specs


@pytest.fixture
def run() -> RunSpec:
    return next(specs(methods=3, datasets=1, seeds=1))


def test_keys_have_20_hex_digits(run: RunSpec) -> None:
    """Folders, weights and locks are named after them, and records of other versions have such."""
    for digest in (run.key, run.config, run.data_identity):
        assert re.fullmatch("[0-9a-f]{20}", digest)


@pytest.mark.parametrize(
    "change",
    [{"method_digest": "1" * 16}, {"seed": 5}, {"fold": 2}, {"fingerprint": "1" * 64}, {"settings": {"alpha": 1}}],
)
def test_what_decides_a_result_changes_the_key(run: RunSpec, change: dict[str, object]) -> None:
    other = replace(run, **change)  # type: ignore[arg-type]
    assert other.key != run.key
    assert (other.config == run.config) is (change.keys() <= {"seed", "fold"})


@pytest.mark.parametrize("change", [{"overrides": "epochs=3"}, {"preset": "other"}, {"source": "./mine.py"}])
def test_how_it_was_asked_for_does_not(run: RunSpec, change: dict[str, object]) -> None:
    assert replace(run, **change).key == run.key  # type: ignore[arg-type]
