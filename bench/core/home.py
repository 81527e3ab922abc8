"""The home folder: where the record and all generated files go."""

import os
from pathlib import Path

DEFAULT = "results"


def default_home() -> Path:
    """The folder for the record and all generated files: MCR_BENCH_HOME, or `results` in the working folder."""
    return Path(os.environ.get("MCR_BENCH_HOME") or DEFAULT)


def data_root_here(asked: Path) -> Path:
    """The folder of prepared datasets on a machine other than the command's: MCR_BENCH_DATA_ROOT there, or `asked`."""
    return Path(os.environ.get("MCR_BENCH_DATA_ROOT") or asked)
