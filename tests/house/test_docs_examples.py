"""The examples of nets, heads and datasets in the documentation run, in their order, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

import mcr_bench

DOCS = Path(mcr_bench.__file__).parent / "docs"


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def run(script: str, folder: Path) -> str:
    """What the commands print; they must succeed."""
    environment = {k: v for k, v in os.environ.items() if k not in ("MCR_BENCH_HOME", "MLFLOW_TRACKING_URI")}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_nets_and_heads(tmp_path: Path) -> None:
    for name, block in zip(("my_net.py", "my_head.py"), blocks("nets.md", "python"), strict=True):
        (tmp_path / name).write_text(block, encoding="utf-8")
    y = np.arange(90) % 3
    draw = np.random.default_rng(0)
    np.savez(
        tmp_path / "mine.npz",
        y=y,
        split=np.repeat(["train", "val", "test"], 30),
        x_voice=draw.normal(size=(90, 16)) + y[:, None],
        x_face=draw.normal(size=(90, 20, 4)) + 0.3 * y[:, None, None],
    )
    told = run("\n".join(blocks("nets.md", "sh")), tmp_path)
    assert "encoder: ./my_net.py:Net" in told
    assert "encoder.layers = 1    (whole number; origin: its constructor)" in told
    assert "mcr " in told


def test_a_dataset_in_a_file(tmp_path: Path) -> None:
    (script,) = [block for block in blocks("data.md", "sh") if "my_set.py" in block]
    told = run(script, tmp_path)
    assert "dataset: rings" in told
    assert "fold 1: train 120, validation 60, test 120" in told
    assert "rings · place + sound · protocol drawn" in told
