"""Every command of the README runs, in its order, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import mcr_bench

ROOT = Path(mcr_bench.__file__).parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
# The environment of the test stands for the one that these make.
SET_UP = ("make ", "source ")


def test_every_example_runs(tmp_path: Path) -> None:
    script = "\n".join(block for block in BLOCKS if not block.startswith(SET_UP))
    environment = {k: v for k, v in os.environ.items() if k not in ("MCR_BENCH_HOME", "MLFLOW_TRACKING_URI")}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert len(BLOCKS) >= 7
    assert "smooth" in done.stdout
    assert (tmp_path / "runs.csv").is_file()
    assert {p.suffix for p in (tmp_path / "results" / "tables").iterdir()} == {".md", ".csv", ".tex", ".html"}


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", README, re.MULTILINE))
    assert {"run", "test"} <= named <= targets
