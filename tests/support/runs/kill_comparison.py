"""Kill -9 a comparison's whole process tree at random moments, start it again each time, compare with a calm one.

Run by hand: python tests/support/runs/kill_comparison.py --kills 5. test_kill.py runs a short version.
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
from pathlib import Path
from typing import Any

from mcr_bench.tests.support.runs.measured import MEASURED

MEASURED_COLUMNS = ("× step time", "× memory")
History = dict[str, dict[str, list[tuple[int, float]]]]
FULL = ["--methods", "all", "--seeds", "2", "--set", "epochs=80", "--set", "patience=0", "--set", "dataset.train=2000"]


def command(settings: list[str]) -> list[str]:
    """The comparison, as a user would type it."""
    code = "from mcr_bench.cli import main; main()"
    common = ["run", "--dataset", "synthetic", "--jobs", "2", "--json"]
    return [sys.executable, "-c", code, *common, *settings]


def start(home: Path, settings: list[str]) -> subprocess.Popen[str]:
    """The comparison in a session of its own, so that one signal reaches the whole tree."""
    environment = os.environ | {"MCR_BENCH_HOME": str(home), "OMP_NUM_THREADS": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
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


def kill_once(home: Path, settings: list[str], after: float) -> None:
    """Kill the whole tree `after` seconds from its start."""
    process = start(home, settings)
    time.sleep(after)
    assert process.poll() is None, "the comparison had ended before it could be killed: give it more epochs"
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def tables(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Every table without the columns that a clock or the system measures."""
    return [
        table | {"rows": [{k: v for k, v in row.items() if k not in MEASURED_COLUMNS} for row in table["rows"]]}
        for table in found["tables"]
    ]


def history(home: Path) -> History:
    """Key -> metric -> (step, value) of all that was logged; one MLflow run per key, everything logged once."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()], max_results=1000)
    found: History = {}
    for run in runs:
        key = run.data.tags["key"]
        assert key not in found, f"two MLflow runs of key {key}"
        points = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
        found[key] = {name: [(p.step, p.value) for p in of_name] for name, of_name in points.items()}
        check_epochs(found[key])
    return found


def check_epochs(metrics: dict[str, list[tuple[int, float]]]) -> None:
    """Every epoch of a run, from 1 to its last, is in its validation curves once, and in no curve twice."""
    epochs = list(range(1, int(metrics["epochs"][-1][1]) + 1))
    for name, points in metrics.items():
        steps = [step for step, _ in points]
        if name.startswith("val/") or (name == "epoch" and epochs):
            assert steps == epochs, f"{name} was logged at epochs {steps}"
        assert name.partition("/")[0] != "train" or steps == sorted({*steps} & {*epochs}), f"{name}: {steps}"


def results(found: History) -> History:
    """Without what a clock or the system measures; a kill may fall between final values and the word finished."""
    return {
        key: {name: sorted(set(points)) for name, points in metrics.items() if name not in MEASURED}
        for key, metrics in found.items()
    }


def left_over(home: Path) -> list[Path]:
    """What only a run under way needs."""
    return [path for pattern in ("work/*", "locks/*", "*/*.partial", "*.new*") for path in home.glob(pattern)]


def compare(kills: int, settings: list[str], seed: int, folder: Path) -> None:
    """The whole check; AssertionError where anything differs."""
    rng, home = random.Random(seed), folder / "killed"
    began = time.monotonic()
    calm = finish(folder / "calm", settings)
    length = time.monotonic() - began
    say(f"undisturbed: {length:.0f} s, {len(calm['runs'])} runs")
    for number in range(1, kills + 1):
        after = rng.uniform(0.05, 1.3) * length / (kills + 1)
        kill_once(home, settings, after)
        finished = len(list(home.glob("artifacts/*/*/artifacts/predictions.parquet")))
        checkpoints = len(list(home.glob("work/*/checkpoint.pt")))
        say(f"kill {number} after {after:.1f} s: {finished} runs had ended, {checkpoints} checkpoints to go on from")
    survivor = finish(home, settings)
    assert tables(survivor) == tables(calm), "the tables differ"
    assert results(history(home)) == results(history(folder / "calm")), "the logged metrics differ"
    began = time.monotonic()
    again = finish(home, settings)
    assert again["runs"] == survivor["runs"], "a further start trained something"
    assert not left_over(home), f"left over: {left_over(home)}"
    say(f"equal to the last digit; a further start: {time.monotonic() - began:.0f} s, nothing trained")


def say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(chosen.kills, FULL, chosen.seed, Path(folder))


if __name__ == "__main__":
    main()
