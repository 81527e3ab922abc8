"""A short version of kill_comparison.py: one kill -9 of the whole tree, then the same table as without it."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "support/runs/kill_comparison.py"
# A plain method, one with a state of its own, and what is made of the runs of others.
SHORT = ["--methods", "joint,agm,ensemble,uni-pre-frozen", "--seeds", "1", "--set", "epochs=12"]
SHORT += ["--set", "dataset.train=400", "--set", "dataset.test=100"]


@pytest.mark.slow  # a minute; test_executor_processes.py kills commands in a few seconds
def test_a_killed_comparison_ends_in_the_same_table(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("kill_comparison", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.compare(1, SHORT, 5, tmp_path)  # killed after two fifths of the time
