"""Kill -9 a comparison's whole process tree at random moments, start it again each time, compare with a calm one.

Run by hand: python tests/kill_comparison.py --kills 5. test_kill.py runs a short version.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

MEASURED = ("× step time", "× memory")
FULL = ["--seeds", "2", "--set", "epochs=80", "--set", "patience=0", "--set", "dataset.train=2000"]


def command(settings: list[str]) -> list[str]:
    """The comparison, as a user would type it."""
    code = "from mcr_bench.cli import main; main()"
    common = ["run", "--methods", "all", "--dataset", "synthetic", "--jobs", "2", "--json"]
    return [sys.executable, "-c", code, *common, *settings]


def start(home: Path, settings: list[str]) -> subprocess.Popen[str]:
    """The comparison in a session of its own, so that one signal reaches the whole tree."""
    environment = os.environ | {"MCR_BENCH_HOME": str(home), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command(settings),
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def finish(home: Path, settings: list[str]) -> dict[str, Any]:
    """Run to the end and return the JSON that the command prints."""
    process = start(home, settings)
    printed, _ = process.communicate()
    assert process.returncode == 0, f"exit code {process.returncode}"
    found: dict[str, Any] = json.loads(printed)
    return found


def kill_once(home: Path, settings: list[str], after: float) -> bool:
    """Kill the tree `after` seconds; whether it was still running then."""
    process = start(home, settings)
    time.sleep(after)
    running = process.poll() is None
    if running:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return running


def tables(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Every table without the columns that a clock or the system measures."""
    return [
        table | {"rows": [{k: v for k, v in row.items() if k not in MEASURED} for row in table["rows"]]}
        for table in found["tables"]
    ]


def check_record(home: Path, found: dict[str, Any]) -> int:
    """One MLflow run per key, every epoch logged once, nothing left over; returns how many epochs there are."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    keys = Counter(row["key"] for row in found["runs"])
    assert set(keys.values()) == {1}
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()], max_results=1000)
    assert len(runs) == len(keys), f"{len(runs)} MLflow runs for {len(keys)} keys"
    epochs = 0
    for run in runs:
        steps = [m.step for m in client.get_metric_history(run.info.run_id, "val/accuracy")]
        trained = [s for s in steps if s > 0]
        assert trained == list(range(1, len(trained) + 1)), f"epochs logged: {steps}"
        epochs += len(trained)
    for folder in ("work", "locks"):
        left = list((home / folder).iterdir()) if (home / folder).exists() else []
        assert not left, f"left over: {left}"
    return epochs


def compare(kills: int, settings: list[str], seed: int, folder: Path) -> None:
    """The whole check; AssertionError where anything differs."""
    rng = random.Random(seed)
    began = time.monotonic()
    calm = finish(folder / "calm", settings)
    length = time.monotonic() - began
    print(
        f"undisturbed: {length:.0f} s, {len(calm['runs'])} runs, {check_record(folder / 'calm', calm)} epochs",
        flush=True,
    )
    for number in range(1, kills + 1):
        after = rng.uniform(0.2, 0.9) * length / kills  # so that every one of them hits
        hit = kill_once(folder / "killed", settings, after)
        print(f"kill {number} after {after:.1f} s: {'killed' if hit else 'had already ended'}", flush=True)
    survivor = finish(folder / "killed", settings)
    print(f"after the last start: {check_record(folder / 'killed', survivor)} epochs", flush=True)
    assert tables(survivor) == tables(calm), "the tables differ"
    began = time.monotonic()
    again = finish(folder / "killed", settings)
    assert again["runs"] == survivor["runs"], "a further start trained something"
    print(f"equal to the last digit; started once more: {time.monotonic() - began:.0f} s, nothing trained", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(chosen.kills, FULL, chosen.seed, Path(folder))


if __name__ == "__main__":
    main()
