"""Many short runs while every few seconds something of the command is killed at random; then what was lost is counted.

Run by hand: python tests/support/runs/soak.py --runs 500 --every 10. tests/faults/test_soak.py runs a short version.
"""

import argparse
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mcr_bench.tests.support.runs.measured import MEASURED

PER_SEED = 5  # runs: two unimodal ones, their ensemble, a plain method and one with a state of its own
SHORT = ["--methods", "joint,agm,ensemble", "--dataset", "synthetic", "--jobs", "2"]
SHORT += [part for text in ("epochs=2", "dataset.train=64", "dataset.test=32") for part in ("--set", text)]
MOST_STARTS = 1000
SPARED = 0.75
Points = dict[str, list[tuple[int, float]]]


@dataclass
class Soak:
    """What a soak has done, and what came of it.

    runs: the runs that were asked for.
    lost: those that are not finished at the end.
    duplicated: keys with two finished runs, and points of curves that were logged twice.
    wrong: runs whose settings or metrics differ from those of the undisturbed record.
    starts: how often the command was started.
    killed: what was killed -> how often.
    seconds: how long it took.
    """

    runs: int = 0
    lost: int = 0
    duplicated: int = 0
    wrong: int = 0
    starts: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def start(home: Path, runs: int, folder: Path) -> subprocess.Popen[bytes]:
    """The command, in a session of its own."""
    code = "from mcr_bench.cli import main; main()"
    environment = os.environ | {"MCR_BENCH_HOME": str(home), "OMP_NUM_THREADS": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-c", code, "run", *SHORT, "--seeds", str(runs // PER_SEED)],
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def descendants(root: int) -> dict[int, int]:
    """Process -> how many generations below `root` it is, of all that descend from it (Linux)."""
    parents: dict[int, int] = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            parents[int(place.parent.name)] = int(place.read_text().rpartition(")")[2].split()[1])
    depth, layer, number = dict[int, int](), [root], 0
    while layer:
        number += 1
        layer = [child for child, parent in parents.items() if parent in layer]
        depth |= dict.fromkeys(layer, number)
    return depth


def kill_something(root: int, draw: random.Random) -> str:
    """Kill -9 the command, one of its workers, or a run in training; returns which.

    A command that has no worker yet is spared three times of four, or a slow machine would only ever start it.
    """
    below = descendants(root)
    kinds = {"the command": [root]}
    kinds |= {name: [p for p, d in below.items() if d == n] for n, name in ((1, "a worker"), (2, "a run"))}
    if not kinds["a worker"] and draw.random() < SPARED:
        return "nothing"
    name = draw.choice([kind for kind, found in kinds.items() if found])
    with suppress(ProcessLookupError):
        os.kill(draw.choice(kinds[name]), signal.SIGKILL)
    return name


def disturb(
    home: Path, runs: int, every: float, draw: random.Random, folder: Path, tell: Callable[[str], None]
) -> Soak:
    """Start the command until it has ended well, and kill something every few seconds."""
    done, began = Soak(runs), time.monotonic()
    while done.starts < MOST_STARTS:
        process = start(home, runs, folder)
        done.starts += 1
        code = _killed_now_and_then(process, every, draw, done.killed)
        tell(f"{time.monotonic() - began:.0f} s, {done.starts} starts, {done.killed.total()} kills: exit code {code}")
        if code == 0:
            break
    done.seconds = time.monotonic() - began
    return done


def _killed_now_and_then(
    process: subprocess.Popen[bytes], every: float, draw: random.Random, killed: Counter[str]
) -> int:
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=every * draw.uniform(0.5, 1.5))
        killed[kill_something(process.pid, draw)] += 1


def results(home: Path) -> tuple[dict[str, Points], int]:
    """Key -> metric -> (step, value) of each finished run, and the number of duplicates, straight from the database."""
    query = (
        "SELECT tags.value, runs.run_uuid FROM runs JOIN tags USING (run_uuid) "
        "WHERE tags.key = 'key' AND status = 'FINISHED' AND lifecycle_stage = 'active'"
    )
    with closing(sqlite3.connect(f"file:{home / 'mlflow.db'}?mode=ro", uri=True)) as connection:
        found = connection.execute(query).fetchall()
        logged = connection.execute("SELECT run_uuid, key, step, value, is_nan FROM metrics").fetchall()
    keys = {run_id: key for key, run_id in found}
    points: dict[str, dict[str, list[tuple[int, float]]]] = {key: {} for key, _ in found}
    for run_id, name, step, value, is_nan in logged:
        if run_id in keys and name not in MEASURED:
            points[keys[run_id]].setdefault(name, []).append((step, float("inf") if is_nan else value))
    twice = sum(count - 1 for count in Counter(key for key, _ in found).values())
    twice += sum(len(of) - len(set(of)) for one in points.values() for name, of in one.items() if _is_curve(name))
    return {key: {name: sorted(set(of)) for name, of in one.items()} for key, one in points.items()}, twice


def _is_curve(name: str) -> bool:
    """Whether a metric has a value per epoch; a kill may fall between final values and the word finished."""
    return name == "epoch" or name.startswith(("val/", "train/"))


def soak(runs: int, every: float, seed: int, folder: Path, tell: Callable[[str], None] = lambda _: None) -> Soak:
    """The whole check, in `folder`."""
    calm, home = folder / "calm", folder / "killed"
    began = time.monotonic()
    assert start(calm, runs, folder).wait() == 0, (folder / "output.txt").read_text()
    tell(f"undisturbed: {time.monotonic() - began:.0f} s")
    done = disturb(home, runs, every, random.Random(seed), folder, tell)
    return counted(calm, home, done)


def counted(calm: Path, home: Path, done: Soak) -> Soak:
    """`done` with what was lost, doubled and wrong in a home, beside one in which nothing was killed."""
    (expected, _), (survived, done.duplicated) = results(calm), results(home)
    done.runs = len(expected)
    done.lost = len(expected.keys() - survived.keys())
    done.wrong = sum(survived[key] != expected.get(key) for key in survived)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between kills, on average")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(soak(chosen.runs, chosen.every, chosen.seed, Path(folder), lambda line: print(line, flush=True)))


if __name__ == "__main__":
    main()
