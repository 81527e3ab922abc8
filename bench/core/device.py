"""Devices: the only module that calls torch.cuda, torch.mps or torch.backends, so that no call can come too early.

Counting GPUs does not initialise CUDA and may be done in any process. Everything else about a GPU is done in the
process that trains on it, after `ready`. On the CPU functions do nothing unless they say what they do there.
"""

import gc
import os
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mcr_bench.bench.errors import UserError

Precision = Literal["fp32", "tf32", "bf16"]
CHOICES = "auto, cpu, cuda, cuda:N, mps"
CUDNN = ("enabled", "benchmark", "deterministic")  # its switches
# cuBLAS adds in a fixed order only with one of these workspaces, whose sizes it reads when it starts.
WORKSPACE, WORKSPACES = "CUBLAS_WORKSPACE_CONFIG", (":4096:8", ":16:8")


def gpu_count() -> int:
    """The number of GPUs that PyTorch can use by CUDA; 0 without CUDA."""
    return torch.cuda.device_count()


def require_known(choice: str) -> None:
    """UserError for a choice of `--device` that means no device anywhere."""
    if choice not in ("auto", "cpu", "cuda", "mps") and not _is_one_gpu(choice):
        raise UserError(f"unknown device '{choice}'. Allowed: {CHOICES}.")


def gpus(choice: str) -> list[str]:
    """The GPUs that a choice of `--device` means, `cuda:N` each or `mps`; none if runs are trained on the CPU.

    UserError for a device that is unknown or not available.
    """
    if choice == "cpu":
        return []
    if choice == "mps":
        return [_require_mps()]
    require_known(choice)
    count = gpu_count()
    if _is_one_gpu(choice) and int(choice[5:]) < count:
        return [f"cuda:{int(choice[5:])}"]
    if _is_one_gpu(choice) or (choice == "cuda" and not count):
        raise _not_available(choice, count)
    return [f"cuda:{i}" for i in range(count)]


def devices(choice: str, count: int) -> list[str]:
    """The device of each of `count` workers: several GPUs are dealt out in turn.

    UserError for a device that is unknown or not available.

    >>> devices("cpu", 2)
    ['cpu', 'cpu']
    """
    places = gpus(choice) or ["cpu"]
    return [places[i % len(places)] for i in range(count)]


def ready(name: str, deterministic: bool = False) -> torch.device:
    """The device called `cpu`, `cuda:N` or `mps`, made ready in this process: CUDA is initialised, N is current.

    A second call changes nothing. UserError for a GPU that is not available. deterministic: what cuBLAS needs for it is
    set before CUDA starts; `make_deterministic` does the rest.
    """
    if deterministic and os.environ.get(WORKSPACE) not in WORKSPACES:
        os.environ[WORKSPACE] = WORKSPACES[0]
    device = torch.device(name)
    if device.type == "mps":
        _require_mps()
    if device.type == "cuda":
        count = gpu_count()
        if (device.index or 0) >= count:
            raise _not_available(name, count)
        torch.cuda.init()
        torch.cuda.set_device(device.index or 0)
    return device


def make_deterministic() -> None:
    """Let this process use algorithms alone that give the same bits every time; call it after `ready`.

    An operation that has none raises RuntimeError, which `is_not_deterministic` recognises. cuDNN tries no algorithms
    out, as it would choose by time, and there is no TF32.
    """
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # no operation here reads it
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    _set_tf32(False)


def backend_switches() -> list[tuple[Callable[[bool], object], bool]]:
    """The switches of cuDNN (enabled, benchmark, deterministic) and of oneDNN (enabled) in this process.

    For each the function that sets it, and its present value.
    """
    cudnn, mkldnn = torch.backends.cudnn, torch.backends.mkldnn
    of_cudnn = [(partial(setattr, cudnn, name), bool(getattr(cudnn, name))) for name in CUDNN]
    return [*of_cudnn, (mkldnn.set_flags, bool(mkldnn.enabled))]


def description(device: torch.device) -> str:
    """The model name of a GPU, such as 'NVIDIA H100', or the type of any other device. Call it after `ready`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has finished its queued work, so that a time taken next is right. Call it after `ready`."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def seed(device: torch.device, value: int) -> None:
    """Seed the default generator of a GPU; other devices have none. Call it after `ready`."""
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)


def reset_peak(device: torch.device) -> None:
    """Reset the peaks of a GPU's memory, which `peak_bytes` and `reserved_bytes` read. Call it after `ready`."""
    torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int:
    """The largest amount of memory, in bytes, that tensors have held on a GPU since `reset_peak`."""
    return torch.cuda.max_memory_allocated(device)


def reserved_bytes(device: torch.device) -> int:
    """The most memory, in bytes, that this process had taken from a GPU since `reset_peak`; 0 for other devices.

    It is more than `peak_bytes`: PyTorch keeps memory that tensors no longer hold, and others cannot have it.
    """
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else 0


def free_bytes(device: torch.device) -> int:
    """The memory of a GPU that no process has taken, in bytes; 0 for other devices. Call it after `ready`."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def release(device: torch.device) -> None:
    """Give memory of a GPU that PyTorch keeps for later back to other processes. Call it after `ready`."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _is_one_gpu(choice: str) -> bool:
    return choice.startswith("cuda:") and choice[5:].isdecimal()


def _require_mps() -> str:
    if not torch.backends.mps.is_available():
        told = "device 'mps' is not available: PyTorch finds no GPU of Apple. Use --device auto or --device cpu."
        raise UserError(told)
    return "mps"


def _not_available(choice: str, count: int) -> UserError:
    finds = {0: "no GPU", 1: "1 GPU"}.get(count, f"{count} GPUs")
    return UserError(f"device '{choice}' is not available: PyTorch finds {finds}. Use --device auto or --device cpu.")


def prefers_channels_last(device: torch.device) -> bool:
    """Whether 2-D convolutions are faster with the channels last; the CPU keeps its layout, as results differ."""
    return device.type == "cuda"


def numerics(device: torch.device, precision: Precision, deterministic: bool) -> None:
    """Set how this process computes on `device`. Call it after `ready`.

    TF32, which rounds the inputs of matrix products and convolutions of a GPU to 10 bits of mantissa, is on for
    `tf32` alone; PyTorch would use it in convolutions by default. cuDNN tries its algorithms on the first batch of each
    shape and keeps the fastest one. On the CPU every precision but bf16 is full precision.

    deterministic: as `make_deterministic`, which goes before speed.
    """
    if deterministic:
        make_deterministic()
        return
    gpu = device.type == "cuda"
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False
    torch.backends.cudnn.benchmark = gpu
    _set_tf32(gpu and precision == "tf32")


def tries_algorithms() -> bool:
    """Whether cuDNN tries its algorithms and keeps the fastest one, so that two runs may round differently."""
    return bool(torch.backends.cudnn.benchmark)


def kernels_of_all_machines() -> AbstractContextManager[object]:
    """A block without kernels that some CPUs lack (LSTM in bfloat16), or that a GPU leaves out under autocast."""
    stack, attention = ExitStack(), torch.backends.mha
    stack.callback(attention.set_fastpath_enabled, attention.get_fastpath_enabled())
    attention.set_fastpath_enabled(False)
    stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
    return stack


def without_cudnn() -> AbstractContextManager[None]:
    """Inside the block cuDNN is left out, whose recurrent layers have no second derivatives."""
    return torch.backends.cudnn.flags(enabled=False)


def _set_tf32(on: bool) -> None:
    """Switch TF32 in both of PyTorch's sets of switches, which must agree; the older first, as it changes the newer."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Please use the new API")  # once per process, in PyTorch 2.9 and later
        torch.set_float32_matmul_precision("highest")
        torch.backends.cuda.matmul.allow_tf32 = on
        torch.backends.cudnn.allow_tf32 = on
    cudnn = torch.backends.cudnn
    for switches in (torch.backends.cuda.matmul, getattr(cudnn, "conv", None), getattr(cudnn, "rnn", None)):
        if switches is not None and hasattr(switches, "fp32_precision"):  # PyTorch 2.9 and later
            switches.fp32_precision = "tf32" if on else "ieee"


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A small tensor on `device`. A copy from the CPU to a GPU does not wait for the work that is queued there."""
    if tensor.device.type != "cpu" or device.type in ("cpu", "mps"):
        return tensor.to(device)
    source = tensor.pin_memory() if device.type == "cuda" else tensor
    return source.to(device, non_blocking=True)


class Slot:
    """A place on the CPU for a block (n, ...) of values that goes to a device, and then for the next one.

    For a GPU it is a buffer in pinned memory, which is not written to again before the copy from it has ended; for
    other devices every block has memory of its own.
    """

    def __init__(self, device: torch.device, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        """shape: of the largest block."""
        self._device, self._shape, self._dtype = device, shape, dtype
        self._buffer = _pinned(shape, dtype) if device.type == "cuda" else None
        self._copied: torch.cuda.Event | None = None

    def block(self, count: int) -> Tensor:
        """Memory for `count` entries, (count, ...), to be written at once. Any thread may ask for it."""
        if self._buffer is None:
            return torch.empty((count, *self._shape[1:]), dtype=self._dtype)
        if self._copied is not None:
            self._copied.synchronize()
        return self._buffer[:count]

    def copy(self, block: Tensor) -> Tensor:
        """The block on the device; on a GPU it is ready for what is queued next on the same stream."""
        if self._buffer is None:
            return block.to(self._device)
        made = block.to(self._device, non_blocking=True)
        self._copied = torch.cuda.Event()
        self._copied.record(torch.cuda.current_stream(self._device))
        return made


def _pinned(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Pinned memory; where there is none left, memory of the usual kind, from which copies take longer."""
    try:
        return torch.empty(shape, dtype=dtype, pin_memory=True)
    except RuntimeError as error:
        warnings.warn(f"batches are not in pinned memory, so copies to the GPU take longer: {error}", stacklevel=3)
        return torch.empty(shape, dtype=dtype)


class Beside:
    """Makes tensors on a GPU on a stream of their own, beside the work that is queued; elsewhere at once.

    What is made must not depend on work that was queued after `begin`, apart from its own. Keep one for as long as
    there is such work: PyTorch keeps memory for each stream.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def begin(self) -> None:
        """Let what is made from now on come after all that is queued now."""
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self._device))

    def made(self, make: Callable[[], Tensor]) -> Tensor:
        """What `make` gives, ready for what is queued next on the present stream."""
        if self._stream is None:
            return make()
        with torch.cuda.stream(self._stream):
            tensor = make()
        present = torch.cuda.current_stream(self._device)
        present.wait_stream(self._stream)
        if tensor.is_cuda:
            tensor.record_stream(present)  # its memory is not given away while this stream may read it
        return tensor


def graphed(module: nn.Module, inputs: tuple[Tensor, ...]) -> Callable[..., tuple[Tensor, ...]]:
    """A function that does what `module(*inputs)` does, and its backward pass, by replaying CUDA graphs.

    A replay costs one launch, however many kernels there are. Shapes, modes and autocast must stay what they are now.
    Call it before other threads use the GPU. RuntimeError where it cannot be done.
    """
    _require_no_waiting(module, inputs)
    names, parameters = zip(*module.named_parameters(), strict=True)
    # Aliases of the parameters: a graph binds what adds up their gradients to its own stream. PyTorch 2.11 warns of it.
    getattr(torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch", bool)(False)
    aliases = tuple(p.detach().requires_grad_(p.requires_grad) for p in parameters)

    def forward(*given: Tensor) -> Any:
        return functional_call(module, dict(zip(names, given[len(inputs) :], strict=True)), given[: len(inputs)])

    gc.collect()  # a tensor that is freed during the capture would end it
    with torch.autocast("cuda", torch.get_autocast_dtype("cuda"), torch.is_autocast_enabled("cuda"), False):
        graph: Any = torch.cuda.make_graphed_callables(forward, (*inputs, *aliases), allow_unused_input=True)
    return lambda *given: graph(*given, *parameters)


def _require_no_waiting(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """RuntimeError if a pass waits for the device: during a capture that would leave PyTorch in a state of its own."""
    module(*inputs)  # what is made in a first pass may wait
    with warnings.catch_warnings(action="ignore"):  # PyTorch says that the mode does not see everything
        torch.cuda.set_sync_debug_mode("error")
    try:
        module(*inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")
