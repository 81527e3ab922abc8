"""Every command of the README runs, in its order, in an empty folder."""

import re
from pathlib import Path

import mcr_bench
from mcr_bench.tests.support.house.examples import blocks, run

ROOT = Path(mcr_bench.__file__).parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = blocks("README.md", "sh")
# The environment of the test stands for the one that these make.
SET_UP = ("make ", "source ")


def test_every_example_runs(tmp_path: Path) -> None:
    script = "\n".join(block for block in BLOCKS if not block.startswith(SET_UP))
    printed = run(script, tmp_path)
    assert len(BLOCKS) >= 7
    assert "smooth" in printed
    assert (tmp_path / "runs.csv").is_file()
    assert {p.suffix for p in (tmp_path / "results" / "tables").iterdir()} == {".md", ".csv", ".tex", ".html", ".bib"}


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", README, re.MULTILINE))
    assert {"run", "test", "perf", "test-gpu"} <= named <= targets
