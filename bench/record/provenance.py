"""Where a run was trained: tags that say it, which are no part of its key."""

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

import mcr_bench

ROOT = Path(mcr_bench.__file__).resolve().parent


def surroundings(device: str) -> dict[str, str]:
    """Device, versions and commit, which may move a result by rounding but are no part of what was asked for."""
    versions = {f"version/{name}": version(name) for name in ("torch", "numpy")}
    return versions | {
        "version/python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "commit": commit(),
    }


@cache
def commit() -> str:
    """The commit of the checkout that this package is, `+changes` where files differ; empty if it is no checkout."""
    if Path(_git("rev-parse", "--show-toplevel") or "/").resolve() != ROOT:
        return ""  # installed, perhaps inside some other project's repository
    return _git("rev-parse", "HEAD") + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
