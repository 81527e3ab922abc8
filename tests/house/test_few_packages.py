"""Training, `make perf` and `make test-gpu` start without the packages that only reports, media and tests need.

Commands that read results start without those of training.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mcr_bench
from mcr_bench.bench.record.tracking import Record
from mcr_bench.tests.support.records import many_runs
from mcr_bench.tests.support.records.homes import without_scores
from mcr_bench.tests.support.records.recorded import empty_record

ROOT = Path(mcr_bench.__file__).parent
ABSENT = (
    *("jinja2", "matplotlib", "seaborn", "PIL", "pytest", "optuna", "av", "cv2", "h5py", "statsmodels"),
    *("transformers", "flask", "sklearn", "docker", "graphene", "waitress"),  # the latter come with the whole of mlflow
)
BLOCKED = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""
STARTED = """
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.commands import running
from mcr_bench.bench.executors import chosen, worker
from mcr_bench.bench.perf import command
from mcr_bench.bench.record.store import open_client
from mcr_bench.bench.training import loop
from mcr_bench.tests.gpu import run
from mcr_bench.cli import app
for name in registry.dataset_names():
    registry.dataset(name)
for name in registry.method_names():
    registry.method(name)
for part in {part for parts in command.PARTS.values() for part in parts} - {"reading"}:
    command.function_of(part)
missing = []
try:
    command.function_of("reading")
except ModuleNotFoundError as error:
    missing.append(error.name)
print(missing)
"""


def test_only_the_part_that_decodes_files_needs_another_package() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED + STARTED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['PIL']"


def make(*arguments: str) -> str:
    """What make would call."""
    done = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    ("target", "module"), [("perf", "mcr_bench.bench.perf.command"), ("test-gpu", "mcr_bench.tests.gpu.run")]
)
def test_make_takes_a_given_python_without_an_environment(target: str, module: str) -> None:
    told = make(target, "PYTHON=/opt/python", "NO_SETUP=1", "DEVICE=cuda:1", "PART=steps methods")
    assert f"PYTHONPATH='{ROOT}/.typecheck" in told
    assert f"/opt/python -m {module} --device 'cuda:1' --part 'steps methods'" in told
    assert ".venv" not in told
    assert "pip" not in told


def test_the_command_line_starts_as_a_module(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mcr_bench.cli", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Train every method on every dataset" in done.stdout


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with four runs of two methods, which log the score of a constant as runs of this version do."""
    folder, scores = tmp_path_factory.mktemp("recorded"), many_runs.write_predictions
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(many_runs, "write_predictions", lambda *of: {**scores(*of), "floor/accuracy": 0.3})
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        record = empty_record(Record(home=folder / "template"), folder / "home")
        for spec in many_runs.specs(5, 1, 2):
            if spec.method in ("joint", "multi-loss"):
                many_runs.record_run(record, spec, folder)
    return folder / "home"


@pytest.mark.parametrize("words", [["results"], ["results", "--verify"], ["compare", "--baseline", "joint"]])
def test_results_are_read_and_compared_without_what_takes_seconds_to_import(recorded: Path, words: list[str]) -> None:
    blocked = BLOCKED.replace(repr(ABSENT), repr((*ABSENT, "torch", "mlflow", "pandas")))
    done = subprocess.run(
        [sys.executable, "-c", f"{blocked}\nfrom mcr_bench.cli import main; main()", *words],
        env=os.environ | {"MCR_BENCH_HOME": str(recorded)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "multi-loss" in done.stdout or "--verify" in words, done.stdout
    assert "left out" not in done.stderr


@pytest.mark.parametrize("read", ["scores", "predictions"])
def test_runs_are_compared_without_an_import_of_pandas(recorded: Path, tmp_path: Path, read: str) -> None:
    recorded = Path(shutil.copytree(recorded, tmp_path / "home"))
    if read == "predictions":
        without_scores(recorded)
    told = "import atexit, sys; atexit.register(lambda: print('pandas' in sys.modules, file=sys.stderr))"
    done = subprocess.run(
        [sys.executable, "-c", f"{told}\nfrom mcr_bench.cli import main; main()", "compare", "--baseline", "joint"],
        env=os.environ | {"MCR_BENCH_HOME": str(recorded)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "multi-loss" in done.stdout, done.stderr
    assert "left out" not in done.stderr
    kept = recorded / "cache" / "samples.db"
    assert kept.exists() is (read == "predictions"), "of predictions that were read the scores are kept"
    assert done.stderr.splitlines()[-1] == "False"
