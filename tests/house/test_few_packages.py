"""Training, `make perf` and `make test-gpu` start without the packages that only reports, media and tests need."""

import subprocess
import sys
from pathlib import Path

import pytest

import mcr_bench

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
