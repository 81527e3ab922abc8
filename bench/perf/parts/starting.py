"""The part of `make perf` on the command line: the time of `mcr-bench --help` over that of a trivial program's help."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mcr_bench.bench.perf.measured import Machine, Measured, in_turns, ratio

ROUNDS = 21  # starting a process is short, and its time varies much
TRIVIAL = "import typer\napp = typer.Typer()\n@app.command()\ndef hello(name: str) -> None:\n    print(name)\napp()\n"


def starting(machine: Machine) -> Iterator[Measured]:
    """Time of `mcr-bench --help` over the help of a Typer program with one command."""
    with tempfile.TemporaryDirectory() as folder:
        trivial = Path(folder) / "trivial.py"
        trivial.write_text(TRIVIAL)
        ours = [sys.executable, "-c", "from mcr_bench.cli import main; main()", "--help"]
        theirs = [sys.executable, str(trivial), "--help"]
        works = [partial(_call, command) for command in (ours, theirs)]
        yield ratio("mcr-bench --help / trivial Typer --help", *in_turns(works, machine.device, ROUNDS, here=False))


def _call(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)
