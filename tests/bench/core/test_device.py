"""Devices: one module calls torch.cuda, a GPU is ready before anything is asked of it, and whole runs go through it."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

import mcr_bench
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.core import device
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.executors.pool import default_jobs
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.runs.events import EpochDone, Event, Job, RunDone
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.training.loop import fit_run
from mcr_bench.tests.support.cuda import StayOnCpu, StrictCuda, load_on_cpu, pretend_gpus

ROOT = Path(mcr_bench.__file__).parent
ROOMS = ("bench", "methods", "datasets", "results")
FILES = [ROOT / "__init__.py", ROOT / "cli.py", *(p for room in ROOMS for p in sorted((ROOT / room).rglob("*.py")))]
ALONE = ROOT / "bench/core/device.py"
SMALL = {"epochs": ["1"], "batch_size": ["16"], "encoder.width": ["8"], "model.width": ["6"]}


def cuda_in(source: str) -> list[str]:
    """Every place in which a module names torch.cuda: an attribute, an import, or a string that is looked up."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("torch.cuda"):
            found.append(ast.unparse(node))
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith("torch.cuda")]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name for name in names if name.startswith("torch.cuda")]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr" and "'cuda'" in ast.unparse(node):
            found.append(ast.unparse(node))
    return found


def test_no_other_module_names_torch_cuda() -> None:
    assert cuda_in(ALONE.read_text(encoding="utf-8"))
    found = {str(path.relative_to(ROOT)): cuda_in(path.read_text(encoding="utf-8")) for path in FILES if path != ALONE}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import torch.cuda",
        "from torch import cuda",
        "from torch.cuda import init",
        "x = torch.cuda.is_available()",
        "def f():\n    return getattr(torch, 'cuda').init()",
    ],
)
def test_every_way_to_name_it_is_seen(source: str) -> None:
    assert cuda_in(source)


def test_a_gpu_is_initialised_before_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = pretend_gpus(monkeypatch, 2)
    second = torch.device("cuda:1")
    for ask in (device.reset_peak, device.peak_bytes, device.synchronise, device.description):
        with pytest.raises(RuntimeError, match="not initialised"):
            ask(second)
    assert device.ready("cuda:1") == second
    assert cuda.current == 1
    device.reset_peak(second)
    assert device.peak_bytes(second) == 3 * 2**20
    assert device.description(second) == "GPU 1"
    assert device.ready("cuda:1") == second


@pytest.mark.parametrize(
    ("name", "count", "words"), [("cuda:7", 1, "1 GPU"), ("cuda:2", 2, "2 GPUs"), ("cuda:0", 0, "no GPU")]
)
def test_a_gpu_that_is_not_available_is_named_and_never_touched(
    name: str, count: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = pretend_gpus(monkeypatch, count)
    with pytest.raises(UserError, match=rf"'{name}' is not available: PyTorch finds {words}\..*--device cpu"):
        device.ready(name)
    assert cuda.calls == []


def test_counting_and_dealing_gpus_initialises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = pretend_gpus(monkeypatch, 2)
    assert device.devices("auto", 3) == ["cuda:0", "cuda:1", "cuda:0"]
    assert [default_jobs(name) for name in ("auto", "cuda", "cuda:1")] == [2, 2, 1]
    assert cuda.calls == []


def test_the_generator_of_the_run_s_own_gpu_is_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = pretend_gpus(monkeypatch, 2)
    device.seed(torch.device("cuda:1"), 11)
    assert [g.initial_seed() == 11 for g in cuda.default_generators] == [False, True]
    device.seed(torch.device("cpu"), 12)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> StrictCuda:
    load_on_cpu(monkeypatch)
    return pretend_gpus(monkeypatch, 1)


def specs_of(method: str, folder: Path) -> list[RunSpec]:
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    x = {f"x_{m}": rng.normal(size=(40, 4)).astype("float32") + y[:, None] for m in "ab"}
    np.savez(folder / "small.npz", y=y, split=np.array(["train", "train", "val", "test"])[np.arange(40) % 4], **x)
    return make_plan(Request([method], [str(folder / "small.npz")], seeds=[0], overrides=SMALL)).runs


def run_on(place: str, spec: RunSpec, home: Path) -> list[Event]:
    weights = {run.key: home / f"{run.key}.pt" for run in spec.dependencies}
    events: list[Event] = []
    fit_run(Job(spec, place, home / spec.key, weights, home / f"{spec.key}.pt"), events.append, checkpoint_seconds=0)
    return events


@pytest.mark.parametrize("method", registry.method_names())
@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
def test_a_whole_run_goes_through_the_strict_gpu(method: str, gpu: StrictCuda, tmp_path: Path) -> None:
    for spec in specs_of(method, tmp_path):
        gpu.initialised, gpu.calls = False, []
        with StayOnCpu():
            first, again = run_on("cuda:0", spec, tmp_path), run_on("cuda:0", spec, tmp_path)  # the second resumes
        assert gpu.calls[:3] == ["init", "set_device", "reset_peak_memory_stats"]
        end = first[-1]
        assert isinstance(end, RunDone)
        assert end.metrics["cost/peak_memory_mib"] == 3.0
        assert end.tags["device/name"] == "GPU 0"
        assert [e.metrics for e in again if isinstance(e, EpochDone)] == [
            e.metrics for e in first if isinstance(e, EpochDone)
        ]


@pytest.mark.usefixtures("gpu")
def test_a_run_on_a_gpu_that_is_not_available_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'cuda:7' is not available"):
        run_on("cuda:7", specs_of("joint", tmp_path)[0], tmp_path)
