"""The part of `make perf` on thousands of runs: planning them, starting again when all are finished, comparing them."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.perf.measured import LEAST, Machine, Measured, of_rounds
from mcr_bench.bench.perf.parts.packing import generated_dataset
from mcr_bench.bench.perf.records import fill
from mcr_bench.bench.perf.workloads import reference_method
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request

METHODS, SIZES, SEEDS = 20, 25, 20  # 10,000 runs: lines of a comparison, comparisons, seeds of a line


def thousands(_: Machine) -> Iterator[Measured]:
    """CPU seconds of planning, of a command whose runs are all finished, and of `compare` without its cache.

    Reading files and, in `compare`, their decoding take several threads, so that an idle machine needs less time.
    """
    asked = request()
    count = f"{METHODS * SIZES * SEEDS:,} runs"
    began = time.process_time()
    runs = make_plan(asked).runs
    yield of_rounds(f"planning {count}", [time.process_time() - began], "s")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name).resolve()
        fill(home, runs)
        again = [_command(home, ["run", *words(asked)]) for _ in range(LEAST)]
        yield of_rounds(f"a command whose {count} are finished", again, "s")
        yield of_rounds(f"compare of {count}, without its cache", [_compare(home) for _ in range(LEAST)], "s")


def request() -> Request:
    """Methods that start from no other run, on generated data of several sizes, which are compared apart."""
    sizes = [str(200 + size) for size in range(SIZES)]
    return Request(methods(), [generated_dataset()], seeds=list(range(SEEDS)), overrides=_overrides(sizes))


def methods() -> list[str]:
    """The reference, and the first methods that need no run of another one."""
    names = [name for name in registry.method_names() if registry.method(name).role == "method"]
    plan = make_plan(Request(names, [generated_dataset()], seeds=[0], overrides=_overrides(["200"])))
    alone = [run.method for run in plan.runs if run.role == "method" and not run.dependencies]
    return [reference_method().name, *dict.fromkeys(alone)][:METHODS]


def words(asked: Request) -> list[str]:
    """The request as options of `mcr-bench run`."""
    settings = [part for key, values in asked.overrides.items() for part in ("--set", f"{key}={','.join(values)}")]
    named = ["--methods", ",".join(asked.methods), "--dataset", ",".join(asked.datasets)]
    return [*named, "--seeds", str(len(asked.seeds or ())), *settings]


def _overrides(sizes: list[str]) -> dict[str, list[str]]:
    return {"epochs": ["1"], "dataset.train": sizes}


def _compare(home: Path) -> float:
    shutil.rmtree(home / "cache", ignore_errors=True)
    return _command(home, ["compare", "--baseline", reference_method().name, "--json"])


def _command(home: Path, asked: list[str]) -> float:
    """The CPU seconds of a command of `mcr-bench` on this record."""
    environment = {name: text for name, text in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment |= {"MCR_BENCH_HOME": str(home), "OMP_NUM_THREADS": "1"}
    before = _of_children()
    code = "from mcr_bench.cli import main; main()"
    subprocess.run([sys.executable, "-c", code, *asked], check=True, capture_output=True, env=environment)
    return _of_children() - before


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
