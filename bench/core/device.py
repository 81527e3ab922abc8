"""Devices: the only module that calls torch.cuda, torch.mps or torch.backends, so that no call can come too early.

Counting GPUs does not initialise CUDA and may be done in any process. Everything else about a GPU is done in the
process that trains on it, after `ready`. On the CPU every function does nothing, or what is said.
"""

import os

import torch

from mcr_bench.bench.errors import UserError

CHOICES = "auto, cpu, cuda, cuda:N, mps"
# cuBLAS adds in a fixed order only with one of these workspaces, whose sizes it reads when it starts.
WORKSPACE, WORKSPACES = "CUBLAS_WORKSPACE_CONFIG", (":4096:8", ":16:8")
# What the libraries below PyTorch say where they raise no error of a type of its own.
OUT_OF_MEMORY = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
NOT_DETERMINISTIC = ("does not have a deterministic implementation", "Deterministic behavior was enabled with either")


def gpu_count() -> int:
    """The number of GPUs that PyTorch can use by CUDA; 0 without CUDA."""
    return torch.cuda.device_count()


def gpus(choice: str) -> list[str]:
    """The GPUs that a choice of `--device` means, `cuda:N` each or `mps`; none if runs are trained on the CPU.

    UserError for a device that is unknown or not available.
    """
    if choice == "cpu":
        return []
    if choice == "mps":
        return [_require_mps()]
    if choice not in ("auto", "cuda") and not _is_one_gpu(choice):
        raise UserError(f"unknown device '{choice}'. Allowed: {CHOICES}.")
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
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


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


def free_bytes(device: torch.device) -> int | None:
    """The memory, in bytes, that no process has taken from a GPU; None for other devices. Call it after `ready`."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a GPU has too little memory left, or was raised from one that does.

    PyTorch raises OutOfMemoryError; cuBLAS, cuDNN and MPS raise RuntimeError with a text.

    >>> is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory.")), is_out_of_memory(ValueError("out of memory"))
    (True, False)
    """
    if isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and tells_out_of_memory(str(error))
    ):
        return True
    return error.__cause__ is not None and is_out_of_memory(error.__cause__)


def tells_out_of_memory(text: str) -> bool:
    """Whether the text of an error, which may begin with the error's type, is about a GPU's memory."""
    return "OutOfMemoryError" in text or any(words in text for words in OUT_OF_MEMORY)


def is_not_deterministic(error: BaseException) -> bool:
    """Whether an error says that an operation has no deterministic algorithm; only after `make_deterministic`."""
    return isinstance(error, RuntimeError) and any(words in str(error) for words in NOT_DETERMINISTIC)


def release(device: torch.device) -> None:
    """Give memory of a GPU that PyTorch keeps for later back to other processes. Call it after `ready`."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _is_one_gpu(choice: str) -> bool:
    return choice.startswith("cuda:") and choice[5:].isdecimal()


def _require_mps() -> str:
    if not torch.backends.mps.is_available():
        raise UserError(
            "device 'mps' is not available: PyTorch finds no GPU of Apple. Use --device auto or --device cpu."
        )
    return "mps"


def _not_available(choice: str, count: int) -> UserError:
    found = {0: "no GPU", 1: "1 GPU"}.get(count, f"{count} GPUs")
    return UserError(f"device '{choice}' is not available: PyTorch finds {found}. Use --device auto or --device cpu.")
