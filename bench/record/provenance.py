"""The provenance of a run: the tags that say where and with what it was trained, which do not belong to its key."""

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

import mcr_bench

ROOT = Path(mcr_bench.__file__).resolve().parent


def provenance(device: str) -> dict[str, str]:
    """The device, library versions, platform and commit, which can change a result only by rounding."""
    versions = {f"version/{name}": version(name) for name in ("torch", "numpy")}
    return versions | {
        "version/python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "commit": commit(),
    }


@cache
def commit() -> str:
    """The commit of this package's checkout, with `+changes` if files were edited; empty if it is not a checkout."""
    if Path(_git("rev-parse", "--show-toplevel") or "/").resolve() != ROOT:
        return ""  # the package is installed, perhaps inside the repository of another project
    return _git("rev-parse", "HEAD") + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
