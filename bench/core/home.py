"""The home folder: where the record and all generated files go."""

import os
from pathlib import Path


def default_home() -> Path:
    """The folder for the record and all generated files: MCR_BENCH_HOME, or `results` in the working folder."""
    return Path(os.environ.get("MCR_BENCH_HOME") or "results")
