"""Kills `prepare` with SIGKILL, the whole process group, at random moments, and compares what came of it with one
clean pass, byte for byte.

    python tests/support/media/kill_prepare.py --kills 10
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mcr_bench.datasets.cache.opened import cache_folder, open_cache
from mcr_bench.datasets.cache.prepare import prepare_clips
from mcr_bench.tests.support.media import raw_clips

JOBS = 2


@dataclass
class Found:
    """kills: those that struck a pass at work; whole: rows that lay whole after each; equal: to a clean pass."""

    kills: int
    whole: list[int]
    files: int
    equal: bool


def measure(folder: Path, kills: int, clips: int, seconds: float, seed: int) -> Found:
    """Prepare `clips` clips that take `seconds` each, killed `kills` times, and once without a kill."""
    source = raw_clips.raw(folder / "raw", clips, bad=b"unusable x", nan=b"nan x")
    first_row, end = _clean(source, folder / "clean", seconds)
    earliest = 0.7 * first_row
    latest = 1.3 * first_row + 2 * (end - first_row) / kills  # so that the kills are spread over all of the work
    draw, whole = random.Random(seed), list[int]()
    while len(whole) < kills:
        process = _start(source, folder / "killed", seconds)
        time.sleep(draw.uniform(earliest, latest))
        if process.poll() is None:
            _kill(process)
            whole.append(_whole_rows(folder / "killed"))
        else:  # all is done, on a machine that is faster now: from the beginning, with shorter waits
            _require(process)
            shutil.rmtree(folder / "killed")
            earliest, latest, whole = 0.7 * earliest, 0.7 * latest, []
    _require(_start(source, folder / "killed", seconds))
    killed, clean = (_folder(folder / place, seconds) for place in ("killed", "clean"))
    open_cache(killed)
    contents = raw_clips.content(clean)
    alone = sorted(path.name for path in killed.parent.iterdir()) == [".lock", killed.name]
    return Found(len(whole), whole, len(contents), alone and raw_clips.content(killed) == contents)


def _clean(source: Path, place: Path, seconds: float) -> tuple[float, float]:
    """Seconds until the first row is whole, and until the end."""
    begun, first_row = time.monotonic(), 0.0
    process = _start(source, place, seconds)
    while process.poll() is None:
        if not first_row and _whole_rows(place):
            first_row = time.monotonic() - begun
        time.sleep(0.02)
    _require(process)
    return first_row, time.monotonic() - begun


def _require(process: "subprocess.Popen[bytes]") -> None:
    if process.wait():
        raise RuntimeError(f"a pass ended with {process.returncode}")


def _folder(place: Path, seconds: float) -> Path:
    return cache_folder(place, raw_clips.recipe(seconds=seconds))


def _start(source: Path, place: Path, seconds: float) -> "subprocess.Popen[bytes]":
    command = [sys.executable, __file__, "--pass", str(source), str(place), str(seconds)]
    return subprocess.Popen(command, start_new_session=True)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):  # it has ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _whole_rows(place: Path) -> int:
    journals = [path.read_bytes() for path in place.glob("*.part/journal.jsonl")]
    return sum(line.startswith(b"[") for text in journals for line in text.splitlines()[1:])


def _one_pass(source: Path, place: Path, seconds: float) -> None:
    recipe = raw_clips.recipe(seconds=seconds)
    request = raw_clips.Request(source, jobs=JOBS)
    prepare_clips("bytes", recipe, raw_clips.scan(source), request, cache_folder(place, recipe))  # type: ignore[arg-type]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pass", nargs=3, dest="one", metavar=("SOURCE", "PLACE", "SECONDS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        source, place, seconds = options.one
        _one_pass(Path(source), Path(place), float(seconds))
        return
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options.kills, clips=30 * options.kills, seconds=0.03, seed=options.seed)
    print(f"killed {result.kills} times at work; whole rows after each: {result.whole}")
    print(f"{result.files} files {'equal' if result.equal else 'DIFFER FROM'} those of a clean pass, byte for byte")
    sys.exit(not result.equal)


if __name__ == "__main__":
    main()
