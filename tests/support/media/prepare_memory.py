"""Prepares many synthetic clips of 64 x 64 and reports the most anonymous memory (RssAnon) of the parent and of each
worker, read from /proc. Pages of mapped files do not count.

    python tests/support/media/prepare_memory.py --clips 50000 --jobs 2
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.datasets.cache.opened import cache_folder, open_cache
from mcr_bench.datasets.cache.prepare import prepare_clips
from mcr_bench.datasets.cache.recipe import Clip, Field, Recipe, Scan
from mcr_bench.tests.support.media import raw_clips

FIELDS = {"video": Field((3, 3, 64, 64), "uint8"), "audio": Field((65, 48), "float16")}
SHARED = 500  # clips that are parts of one raw file: 50,000 files would measure the file system


@dataclass
class Peak:
    """MiB of RssAnon: of the parent, of the worker with the most, and the most of all processes together."""

    parent: float = 0
    worker: float = 0
    together: float = 0


def decode(clip: Clip, _: Mapping[str, Any]) -> Mapping[str, Array]:
    """Noise that follows from the id."""
    draw = np.random.default_rng(int(clip.id))
    video = draw.integers(0, 256, FIELDS["video"].shape, np.uint8)
    return {"video": video, "audio": draw.random(FIELDS["audio"].shape, np.float32).astype(np.float16)}


def measure(folder: Path, clips: int, jobs: int) -> Peak:
    """Prepare in a process of its own and watch it and its workers."""
    (folder / "raw").mkdir()
    for at in range(0, clips, SHARED):
        (folder / "raw" / f"{at // SHARED}").write_bytes(at.to_bytes(4, "big") * 1000)
    process = subprocess.Popen([sys.executable, __file__, "--pass", str(folder), str(clips), str(jobs)])
    peak = Peak()
    while process.poll() is None:
        parent = anonymous(process.pid)
        workers = [anonymous(child) for child in _children(process.pid)]
        together = parent + sum(workers)
        peak = Peak(max(peak.parent, parent), max([peak.worker, *workers]), max(peak.together, together))
        time.sleep(0.05)
    if process.returncode:
        raise RuntimeError(f"preparing failed with {process.returncode}")
    kept = len(open_cache(cache_folder(folder / "data", _recipe())).index.ids)
    if kept != clips:
        raise RuntimeError(f"{kept} of {clips} clips were kept")
    return peak


def anonymous(process: int) -> float:
    """MiB of RssAnon; 0 where the process is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def _children(process: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def _recipe() -> Recipe:
    from mcr_bench.tests.support.media import prepare_memory  # workers find the function there, and not in a script

    return Recipe("noise", {"version": 1}, FIELDS, prepare_memory.decode)


def _one_pass(folder: Path, clips: int, jobs: int) -> None:
    raw = folder / "raw"
    result = [
        Clip(f"{at:06}", at % 10, f"g{at % 100}", {"raw": raw / f"{at // SHARED}"}, (at % SHARED, at % SHARED + 1.0))
        for at in range(clips)
    ]
    recipe, request = _recipe(), raw_clips.Request(raw, jobs=jobs)
    prepare_clips("noise", recipe, Scan(result), request, cache_folder(folder / "data", recipe))  # type: ignore[arg-type]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=50_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--pass", nargs=3, dest="one", metavar=("FOLDER", "CLIPS", "JOBS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        folder, clips, jobs = options.one
        _one_pass(Path(folder), int(clips), int(jobs))
        return
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        peak = measure(Path(folder), options.clips, options.jobs)
    print(f"{options.clips} clips of 64 x 64 with {options.jobs} workers in {time.monotonic() - begun:.0f} s. RssAnon:")
    print(f"parent {peak.parent:.0f} MiB, each worker at most {peak.worker:.0f}, all together {peak.together:.0f}")


if __name__ == "__main__":
    main()
