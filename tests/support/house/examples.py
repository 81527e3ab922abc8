"""The examples of the documentation: blocks of a page, and commands run as a new user would."""

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import mcr_bench
from mcr_bench.tests.support.house.forked import command_in

ROOT = Path(mcr_bench.__file__).parent


def blocks(page: str, language: str) -> list[str]:
    """The blocks of one language in a page, by its path below the root of the project."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def run(script: str, folder: Path) -> str:
    """The output of commands in this environment and folder; they must succeed."""
    environment = {k: v for k, v in os.environ.items() if k not in ("MCR_BENCH_HOME", "MLFLOW_TRACKING_URI")}
    with TemporaryDirectory() as commands, command_in(Path(commands)):
        environment |= {"PATH": f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
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
