"""--device, --runs-per-gpu and --deterministic of the verbs that train: what is refused, told and passed on."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from mcr_bench.bench.commands.running import How
from mcr_bench.bench.core.device import require_known
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.executors.base import TrainingPlan
from mcr_bench.bench.executors.local import LocalExecutor
from mcr_bench.bench.planning.advice.determinism import (
    require_deterministic,
    require_deterministic_settings,
    trained_without,
)
from mcr_bench.bench.runs.events import Outcome
from mcr_bench.cli import app
from mcr_bench.tests.support.cuda import pretend_gpus
from mcr_bench.tests.support.records.run_rows import run_row

SMALL = ["--dataset", "synthetic", "--set", "epochs=1", "--set", "dataset.train=60", "--set", "dataset.test=30"]
RUN = ["run", "--methods", "joint", "--seeds", "1", *SMALL]
TUNE = ["tune", "--methods", "joint", "--trials", "2", *SMALL]
PUT = '''
"""Joint training with an operation that has no deterministic algorithm."""
from mcr_bench.methods.base import Method


class Put(Method):
    """L = CE(z, y)."""

    name = "put"

    def loss(self, outputs, batch):
        batch.target.clone().put_(batch.index[:1] * 0, batch.target[:1])
        return super().loss(outputs, batch)
'''


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[TrainingPlan]:
    """The plans that reach the executor, which trains nothing."""
    seen: list[TrainingPlan] = []

    def execute(_: LocalExecutor, plan: TrainingPlan, *_others: object) -> Outcome:
        seen.append(plan)
        return Outcome()

    monkeypatch.setattr(LocalExecutor, "execute", execute)
    return seen


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def refused(found: Result, *said: str) -> None:
    assert (found.exit_code, found.stdout) == (2, ""), found.output
    assert "Traceback" not in found.stderr
    for text in said:
        assert text in found.stderr


@pytest.mark.parametrize("verb", [RUN, TUNE], ids=["run", "tune"])
def test_the_choices_reach_the_executor(verb: list[str], plans: list[TrainingPlan]) -> None:
    call(*verb, "--device", "cuda:1", "--runs-per-gpu", "3", "--deterministic", "--jobs", "2")
    assert [(p.device, p.runs_per_gpu, p.deterministic, p.jobs) for p in plans] == [("cuda:1", 3, True, 2)]
    call(*verb)
    assert [(p.device, p.runs_per_gpu, p.deterministic, p.jobs) for p in plans[1:]] == [("auto", None, False, None)]


@pytest.mark.parametrize("verb", [RUN, TUNE], ids=["run", "tune"])
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--device", "tpu"], "unknown device 'tpu'. Allowed: auto, cpu, cuda, cuda:N, mps."),
        (["--device", "cuda:"], "unknown device 'cuda:'"),
        (["--device", "cpu", "--runs-per-gpu", "2"], "--runs-per-gpu 2: --device cpu uses no GPU. Use --jobs"),
        (["--device", "mps", "--runs-per-gpu", "2"], "--runs-per-gpu 2: on mps one run is trained at a time"),
        (["--runs-per-gpu", "0"], "--runs-per-gpu"),
        (["--runs-per-gpu", "many"], "--runs-per-gpu"),
    ],
)
@pytest.mark.parametrize("plan", [[], ["--plan"]], ids=["train", "plan"])
def test_what_means_nothing_is_refused(
    verb: list[str], options: list[str], says: str, plan: list[str], plans: list[TrainingPlan]
) -> None:
    refused(call(*verb, *options, *plan), says)
    assert plans == []


@pytest.mark.parametrize(
    ("device", "says"), [("cuda", "no GPU"), ("cuda:2", "no GPU"), ("mps", "no GPU of Apple. Use --device auto")]
)
def test_a_device_that_is_not_available_is_named(device: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    refused(call(*RUN, "--device", device), f"device '{device}' is not available: PyTorch finds {says}")


@pytest.mark.parametrize("verb", [RUN, TUNE], ids=["run", "tune"])
def test_mps_is_said_to_be_untested(verb: list[str], plans: list[TrainingPlan]) -> None:
    found = call(*verb, "--device", "mps", "--jobs", "4")
    assert [line for line in found.stderr.splitlines() if line.startswith("mps is untested")]
    assert plans[0].device == "mps"


@pytest.mark.parametrize(("gpus", "told"), [(0, True), (1, False)])
def test_sharing_without_a_gpu_is_said_to_have_no_effect(
    gpus: int, told: bool, plans: list[TrainingPlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_gpus(monkeypatch, gpus)
    found = call(*RUN, "--runs-per-gpu", "2")
    assert ("--runs-per-gpu 2 has no effect: there is no GPU" in found.stderr) == told
    assert plans[0].runs_per_gpu == 2


def test_the_estimate_counts_the_runs_that_share_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, 2)
    found = json.loads(call(*RUN, "--plan", "--runs-per-gpu", "4", "--json").stdout)
    assert found["estimate"]["jobs"] == 8


@pytest.mark.parametrize("choice", ["auto", "cpu", "cuda", "cuda:0", "cuda:12", "mps"])
def test_known_devices(choice: str) -> None:
    require_known(choice)
    assert How(LocalExecutor(), device=choice).device == choice


class Asked:
    """What is read of a run here."""

    def __init__(self, label: str, precision: str) -> None:
        self.label, self.training = label, {"precision": precision}


def test_tf32_is_refused_with_deterministic() -> None:
    fits: Any = [Asked("joint", "fp32"), Asked("agm", "bf16")]
    require_deterministic(fits)
    with pytest.raises(UserError, match=r"TF32 off, but mcr has precision=tf32\. Use precision=fp32"):
        require_deterministic([*fits, Asked("mcr", "tf32")])  # type: ignore[list-item]
    require_deterministic_settings({"epochs": ["1"], "precision": ["fp32", "bf16"]})
    with pytest.raises(UserError, match=r"--set mcr\.precision=tf32.*leave out --deterministic"):
        require_deterministic_settings({"mcr.precision": ["fp32", "tf32"]})


def test_finished_runs_without_it_are_told() -> None:
    without = [run_row("joint", seed) for seed in range(3)]
    with_it = [run_row("agm", 0, tags={"deterministic": "true"})]
    keys = {row.key for row in (*without[:2], *with_it)}
    (note,) = trained_without([*without, *with_it], keys)
    assert note.startswith("2 runs are finished that were trained without --deterministic; --force")
    assert trained_without(without, {without[0].key})[0].startswith("1 run is finished that was")
    assert trained_without(with_it, keys) == []
    assert trained_without([run_row("joint", 0, status="failed")], keys) == []


def test_deterministic_runs_are_tagged_and_an_operation_without_an_algorithm_is_named(tmp_path: Path) -> None:
    (tmp_path / "put.py").write_text(PUT)
    both = ["run", "--methods", f"joint,{tmp_path / 'put.py'}", "--seeds", "1", "--jobs", "1", *SMALL, "--json"]
    made = call(*both, "--deterministic")
    assert made.exit_code == 1
    runs = {row["method"]: row for row in json.loads(made.stdout)["runs"]}
    assert [runs["joint"][name] for name in ("device_name", "precision", "deterministic")] == ["cpu", "fp32", True]
    (failure,) = json.loads(made.stdout)["failed"]
    assert failure["reason"].startswith("--deterministic: put_ does not have a deterministic implementation (on cpu).")
    assert call(*both).exit_code == 0
    again = call(*both, "--deterministic")
    assert "1 run is finished that was trained without --deterministic" in again.stderr
