"""Devices: one module names torch.cuda, a GPU is ready before anything is asked of it, whole runs go through it."""

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import mcr_bench
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.core import device, memory
from mcr_bench.bench.core.faults.of_gpus import is_out_of_memory, tells_out_of_memory
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.executors.pool import default_jobs
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.runs.events import EpochDone, Event, Job, RunDone, Shortage
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.training import loop
from mcr_bench.bench.training.loop import fit_run
from mcr_bench.tests.support.cuda import StayOnCpu, StrictCuda, in_no_worker, load_on_cpu, pretend_gpus
from mcr_bench.tests.support.runs.heads import head_settings

ROOT = Path(mcr_bench.__file__).parent
ROOMS = ("bench", "methods", "datasets", "results")
FILES = [ROOT / "__init__.py", ROOT / "cli.py", *(p for room in ROOMS for p in sorted((ROOT / room).rglob("*.py")))]
ALONE = ROOT / "bench/core/device.py"
PARTS = ("cuda", "mps", "backends")
ASKING = (
    *(device.reset_peak, device.peak_bytes, device.reserved_bytes, device.free_bytes),
    *(device.synchronise, device.description),
)
READY = ["init", "set_device", "reset_peak_memory_stats"]
SMALL = {"epochs": ["1"], "batch_size": ["16"], "encoder.width": ["8"], "model.width": ["6"]}


def named_in(source: str) -> list[str]:
    """Every place in which a module names a device's part of torch: an attribute, an import, a text to look up."""
    places = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            places.append(ast.unparse(node))
        elif isinstance(node, ast.Import):
            places += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            places += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "importlib.import_module"):
            places += [f"torch.{word}" for word in PARTS if f"{word}'" in ast.unparse(node)]
    return [place for place in places if place.startswith(tuple(f"torch.{part}" for part in PARTS))]


def test_no_other_module_names_torch_cuda_mps_or_backends() -> None:
    assert {name.split(".")[1] for name in named_in(ALONE.read_text(encoding="utf-8"))} == set(PARTS)
    found = {str(path.relative_to(ROOT)): named_in(path.read_text(encoding="utf-8")) for path in FILES if path != ALONE}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import torch.cuda",
        "from torch import cuda",
        "from torch.cuda import init",
        "x = torch.cuda.is_available()",
        "def f():\n    return getattr(torch, 'cuda').init()",
        "import torch.backends.cudnn as cudnn",
        "from torch.backends import cudnn",
        "torch.backends.cudnn.benchmark = True",
        "from torch import mps",
        "def f():\n    torch.mps.synchronize()",
        "import importlib\nx = importlib.import_module('torch.mps')",
    ],
)
def test_every_way_to_name_them_is_seen(source: str) -> None:
    assert named_in(source)


def test_a_gpu_is_initialised_before_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = pretend_gpus(monkeypatch, 2)
    second = torch.device("cuda:1")
    for ask in ASKING:
        with pytest.raises(RuntimeError, match="not initialised"):
            ask(second)
    assert device.ready("cuda:1") == second
    assert cuda.current == 1
    device.reset_peak(second)
    assert device.peak_bytes(second) == 3 * 2**20
    assert device.description(second) == "GPU 1"
    assert device.reserved_bytes(second) == 5 * 2**20
    cuda.free[1] = 12345
    assert device.free_bytes(second) == 12345
    assert device.ready("cuda:1") == second
    device.synchronise(second)
    assert cuda.synchronisations == 2


@pytest.mark.parametrize("ask", ASKING)
def test_a_gpu_is_asked_by_its_worker_alone_and_for_an_index_that_it_has(
    ask: Callable[[torch.device], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = pretend_gpus(monkeypatch, 1)
    device.ready("cuda:0")
    with pytest.raises(RuntimeError, match="invalid device ordinal 3"):
        ask(torch.device("cuda:3"))
    with in_no_worker(cuda), pytest.raises(RuntimeError, match="not the worker"):
        ask(torch.device("cuda:0"))
    with in_no_worker(cuda), pytest.raises(RuntimeError, match="not the worker"):
        device.ready("cuda:0")


def test_kept_memory_is_given_back_by_the_worker_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = pretend_gpus(monkeypatch, 1)
    with pytest.raises(RuntimeError, match="not initialised"):
        device.release(torch.device("cuda:0"))
    made = device.ready("cuda:0")
    device.release(made)
    assert cuda.calls[-1] == "empty_cache"
    with in_no_worker(cuda), pytest.raises(RuntimeError, match="not the worker"):
        device.release(made)


def test_a_process_that_was_forked_from_one_that_uses_cuda_may_not_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = pretend_gpus(monkeypatch, 1)
    device.ready("cuda:0")
    monkeypatch.setattr(cuda, "initialised_in", -1)  # another process
    with pytest.raises(RuntimeError, match="forked"):
        device.ready("cuda:0")


def test_what_the_stand_in_does_not_have_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = pretend_gpus(monkeypatch, 1)
    with pytest.raises(AssertionError, match="not a part of the stand-in"):
        cuda.reset_accumulated_memory_stats()
    assert cuda.is_available()


def test_on_the_cpu_nothing_is_asked_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = pretend_gpus(monkeypatch, 1)
    cpu = device.ready("cpu")
    device.synchronise(cpu)
    device.seed(cpu, 1)
    device.release(cpu)
    memory.reset_peak(cpu)
    assert (device.description(cpu), device.reserved_bytes(cpu), device.free_bytes(cpu)) == ("cpu", 0, 0)
    assert memory.peak_mib(cpu) > 1
    assert memory.reserved_mib(cpu) == 0
    memory.require_room(cpu, 1e9)
    assert cuda.calls == []


@pytest.mark.parametrize(("free", "room"), [(700, 700), (699.5, 700), (0, 1), (0, 0)])
def test_a_gpu_has_room_if_as_much_is_free(free: float, room: float, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = pretend_gpus(monkeypatch, 2)
    cuda.free = [0, int(free * 2**20)]
    second = device.ready("cuda:1")
    if free >= room:
        memory.require_room(second, room)
    else:
        with pytest.raises(memory.NoRoom, match=f"the largest run so far took {room} MiB"):
            memory.require_room(second, room)


def test_a_run_without_room_has_done_nothing(gpu: StrictCuda, tmp_path: Path) -> None:
    gpu.free = [10 * 2**20]
    spec = specs_of("joint", tmp_path)[0]
    job = Job(spec, "cuda:0", tmp_path / "work", {}, tmp_path / "weights.pt", room=11.0)
    with pytest.raises(memory.NoRoom, match="10 MiB are free"):
        fit_run(job, [].append)
    assert gpu.calls == ["init", "set_device", "mem_get_info"]
    assert not (tmp_path / "work").exists()


class Mps:
    """What is called of torch.mps."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def synchronize(self) -> None:
        self.calls.append("synchronize")

    def manual_seed(self, value: int) -> None:
        self.calls.append(value)


@pytest.mark.parametrize("available", [True, False])
def test_mps_is_a_device_where_it_is_available(available: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, 0)
    mps = Mps()
    monkeypatch.setattr(torch, "mps", mps)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: available)
    if not available:
        for ask in (device.ready, device.gpus):
            with pytest.raises(UserError, match=r"'mps' is not available: .*Use --device auto or --device cpu"):
                ask("mps")
        return
    assert device.devices("mps", 2) == ["mps", "mps"]
    assert device.devices("auto", 1) == ["cpu"]  # untested: only where it is asked for
    made = device.ready("mps")
    device.synchronise(made)
    device.seed(made, 7)
    assert mps.calls == ["synchronize", 7]
    assert (device.description(made), device.reserved_bytes(made)) == ("mps", 0)


@pytest.mark.parametrize(
    ("before", "after"), [(None, ":4096:8"), (":16:8", ":16:8"), (":0:0", ":4096:8"), (":4096:8", ":4096:8")]
)
def test_the_workspace_of_cublas_is_set_before_cuda_starts(
    before: str | None, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = pretend_gpus(monkeypatch, 1)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", before or "")
    seen: list[str] = []
    monkeypatch.setattr(
        cuda, "init", lambda: seen.append(os.environ["CUBLAS_WORKSPACE_CONFIG"]) or StrictCuda.init(cuda)
    )
    device.ready("cuda:0", deterministic=True)
    assert seen == [after]
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "as it was")
    device.ready("cuda:0")
    assert seen[1:] == ["as it was"]


def test_deterministic_algorithms_are_a_choice_of_the_process() -> None:
    code = """
import torch
from mcr_bench.bench.core.device import make_deterministic
from mcr_bench.bench.core.faults.of_gpus import is_not_deterministic
torch.backends.cudnn.benchmark = True
make_deterministic()
cudnn = torch.backends.cudnn
print(torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32)
try:
    torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))
except RuntimeError as error:
    print(is_not_deterministic(error), is_not_deterministic(RuntimeError("put_")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["True True False False", "True False"]


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


@pytest.mark.parametrize(
    ("text", "about_memory"),
    [
        ("OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.", True),
        ("RuntimeError: cuFFT error: CUFFT_ALLOC_FAILED", True),
        ("RuntimeError: CUDA error: an illegal memory access was encountered", False),
        ("", False),
    ],
)
def test_texts_about_memory(text: str, about_memory: bool) -> None:
    assert tells_out_of_memory(text) == about_memory
    assert is_out_of_memory(RuntimeError(text)) == about_memory
    assert not is_out_of_memory(KeyError(text))


def test_diagnostics_that_ran_out_of_memory_are_told(
    gpu: StrictCuda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(loop, "absent_inputs", too_large)
    (spec,) = specs_of("joint", tmp_path)
    with StayOnCpu():
        on_gpu = run_on("cuda:0", spec, tmp_path / "gpu")[-1]
    on_cpu = run_on("cpu", spec, tmp_path / "cpu")[-1]
    assert isinstance(on_gpu, RunDone)
    assert isinstance(on_cpu, RunDone)
    assert (on_gpu.short, on_cpu.short) == (Shortage.MEMORY, None)
    assert gpu.initialised


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> StrictCuda:
    load_on_cpu(monkeypatch)
    return pretend_gpus(monkeypatch, 1)


def specs_of(method: str, folder: Path) -> list[RunSpec]:
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    x = {f"x_{m}": rng.normal(size=(40, 4)).astype("float32") + y[:, None] for m in "ab"}
    np.savez(folder / "small.npz", y=y, split=np.array(["train", "train", "val", "test"])[np.arange(40) % 4], **x)
    overrides = SMALL | head_settings(method)
    return make_plan(Request([method], [str(folder / "small.npz")], seeds=[0], overrides=overrides)).runs


def run_on(place: str, spec: RunSpec, home: Path) -> list[Event]:
    weights = {run.key: home / f"{run.key}.pt" for run in spec.dependencies}
    events: list[Event] = []
    fit_run(Job(spec, place, home / spec.key, weights, home / f"{spec.key}.pt"), events.append, checkpoint_seconds=0)
    return events


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of data and runs of all methods: unimodal runs, which many start from, are trained once."""
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize("method", registry.method_names())
@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
def test_a_whole_run_goes_through_the_strict_gpu(method: str, gpu: StrictCuda, common: Path) -> None:
    for spec in specs_of(method, common):
        if (common / f"{spec.key}.pt").exists():
            continue
        gpu.initialised, gpu.calls = False, []
        with StayOnCpu():
            first = run_on("cuda:0", spec, common)
        assert [name for name in gpu.calls if name != "mem_get_info"][:3] == READY
        end = first[-1]
        assert isinstance(end, RunDone)
        assert end.metrics["cost/peak_memory_mib"] == 3.0
        assert (end.reserved, end.short) == (5.0, None)
        assert (end.tags["device/name"], end.tags["precision"], end.tags["deterministic"]) == ("GPU 0", "fp32", "false")


@pytest.mark.parametrize("method", ["mcr", "pmr", "ogm-ge"])
@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
@pytest.mark.usefixtures("gpu")
def test_a_run_resumes_on_the_strict_gpu(method: str, tmp_path: Path) -> None:
    spec = specs_of(method, tmp_path)[-1]
    with StayOnCpu():
        first, again = ([e.metrics for e in run_on("cuda:0", spec, tmp_path) if isinstance(e, EpochDone)] for _ in "ab")
    assert first == again != []


@pytest.mark.usefixtures("gpu")
def test_a_run_on_a_gpu_that_is_not_available_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'cuda:7' is not available"):
        run_on("cuda:7", specs_of("joint", tmp_path)[0], tmp_path)
