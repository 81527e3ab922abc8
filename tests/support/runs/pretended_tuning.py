"""Tuning that only pretends to train: a place and a record of its own, what the tests of tuning share."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mcr_bench.bench.executors.places import weights_file
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.runs.events import Failure, Outcome
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.tuning import search
from mcr_bench.bench.tuning.request import TuneRequest
from mcr_bench.tests.support.records.run_rows import run_row

METHODS = ["joint", "mlb"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of its own for record and presets, also where a tracking server is named."""
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    return tmp_path / "home"


class Memory:
    """A record without a database: what Pretend and a search need of one."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.rows: dict[str, RunRow] = {}

    def finished(self, keys: Iterable[str], dataset: str) -> dict[str, RunRow]:
        return {key: self.rows[key] for key in keys if key in self.rows}

    def finished_keys(self, keys: Iterable[str], dataset: str) -> set[str]:
        return set(self.finished(keys, dataset))


@pytest.fixture(autouse=True)
def in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records: dict[Path | None, Memory] = {}
    monkeypatch.setattr(
        search, "tuning_record", lambda home, _: records.setdefault(home, Memory((home or tmp_path) / "tuning"))
    )


class Pretend:
    """Executes without training: `value(spec)` is what validation gives, None a failure; `test` is what test gives."""

    def __init__(
        self, value: Callable[[RunSpec], float | None], test: float = 0.5, metric: str = "accuracy", most: int = 10**6
    ) -> None:
        self.value, self.test, self.metric, self.most = value, test, metric, most
        self.trained: list[RunSpec] = []

    def __call__(
        self, specs: Sequence[RunSpec], record: Any, *, done: int, keep_weights: Callable[[RunSpec], bool]
    ) -> Outcome:
        outcome = Outcome()
        for spec in specs:
            if len(self.trained) >= self.most:
                raise KeyboardInterrupt
            self.trained.append(spec)
            value = self.value(spec)
            if value is None:
                outcome.failed.append(Failure(spec, "diverged", Path("log.txt")))
            else:
                metrics = {f"selected_val/{self.metric}": value, f"test/{self.metric}": self.test}
                record.rows[spec.key] = run_row(spec.method, spec.seed, self.test, metrics=metrics)
                if keep_weights(spec):
                    weights_file(record.home, spec).parent.mkdir(parents=True, exist_ok=True)
                    weights_file(record.home, spec).touch()
        return outcome


def rate(spec: RunSpec) -> float:
    """A validation value that grows with the learning rate."""
    return float(spec.training["optimizer.lr"])


def request(*methods: str, trials: int = 4, **others: Any) -> TuneRequest:
    return TuneRequest(list(methods) or METHODS, "synthetic", trials, **others)
