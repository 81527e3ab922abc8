"""Devices: the only module that calls torch.cuda, so that no call of it can come before CUDA is initialised.

Counting GPUs does not initialise CUDA and may be done in any process. Everything else about a GPU is done in the
process that trains on it, after `ready`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError

CHOICES = "auto, cpu, cuda, cuda:N"


def gpu_count() -> int:
    """The number of GPUs that PyTorch can use; 0 without CUDA."""
    return torch.cuda.device_count()


def devices(choice: str, count: int) -> list[str]:
    """The device of each of `count` workers: `auto` and `cuda` give them all GPUs in turn.

    UserError for a device that is unknown or not available.

    >>> devices("cpu", 2)
    ['cpu', 'cpu']
    """
    if choice == "cpu":
        return ["cpu"] * count
    if choice not in ("auto", "cuda") and not _is_one_gpu(choice):
        raise UserError(f"unknown device '{choice}'. Allowed: {CHOICES}.")
    gpus = gpu_count()
    if choice == "auto" and not gpus:
        return ["cpu"] * count
    if _is_one_gpu(choice) and int(choice[5:]) < gpus:
        return [choice] * count
    if not gpus or _is_one_gpu(choice):
        raise _not_available(choice, gpus)
    return [f"cuda:{i % gpus}" for i in range(count)]


def ready(name: str) -> torch.device:
    """The device called `cpu` or `cuda:N`, made ready in this process: CUDA is initialised, and device N is current.

    A second call changes nothing. UserError for a GPU that is not available.
    """
    device = torch.device(name)
    if device.type == "cuda":
        gpus = gpu_count()
        if (device.index or 0) >= gpus:
            raise _not_available(name, gpus)
        torch.cuda.init()
        torch.cuda.set_device(device.index or 0)
    return device


def description(device: torch.device) -> str:
    """The model name of a GPU, such as 'NVIDIA H100', or the type of any other device. Call it after `ready`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has finished its queued work, so that a time taken next is right. Call it after `ready`."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seed(device: torch.device, value: int) -> None:
    """Seed the default generator of a GPU; other devices have none. Call it after `ready`."""
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(value)


def reset_peak(device: torch.device) -> None:
    """Reset the peak of a GPU's memory, which `peak_bytes` reads. Call it after `ready`."""
    torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int:
    """The largest amount of memory, in bytes, that tensors have held on a GPU since `reset_peak`."""
    return torch.cuda.max_memory_allocated(device)


def _is_one_gpu(choice: str) -> bool:
    return choice.startswith("cuda:") and choice[5:].isdecimal()


def _not_available(choice: str, gpus: int) -> UserError:
    count = {0: "no GPU", 1: "1 GPU"}.get(gpus, f"{gpus} GPUs")
    return UserError(f"device '{choice}' is not available: PyTorch finds {count}. Use --device auto or --device cpu.")


# Copies to a device, and what its memory can hold.


def free_bytes(device: torch.device) -> int:
    """The memory of a GPU that no process has taken, in bytes; 0 for other devices. Call it after `ready`."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A small tensor on `device`. A copy from the CPU to a GPU does not wait for the work that is queued there."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def uploads(device: torch.device, shape: tuple[int, ...], dtype: torch.dtype, slots: int) -> "Uploads":
    """What brings blocks of at most `shape` to `device`; a GPU gets them from `slots` buffers in pinned memory."""
    pinned = device.type == "cuda"
    return _Pinned(device, shape, dtype, slots) if pinned else Uploads(device, shape, dtype)


class Uploads:
    """Blocks (n, ...) of values that are written on the CPU and then used on a device, one after the other.

    This class is for devices without pinned memory: every block has memory of its own, which is not used again.
    """

    def __init__(self, device: torch.device, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        self._device, self._shape, self._dtype = device, shape, dtype

    def block(self, count: int) -> Tensor:
        """Memory of the CPU for the next block of `count` entries, (count, ...), which may be written at once."""
        return torch.empty((count, *self._shape[1:]), dtype=self._dtype)

    def begin(self, block: Tensor) -> Callable[[], Tensor]:
        """Begin to copy what `block` gave; the result gives the block on the device, ready for what is queued next."""
        made = block.to(self._device)
        return lambda: made


class _Pinned(Uploads):
    """Blocks for a GPU: copied on a stream of their own, beside its work, from buffers that are used in turn.

    May be used by another thread than the one that made it; that thread calls `ready` first.
    """

    def __init__(self, device: torch.device, shape: tuple[int, ...], dtype: torch.dtype, slots: int) -> None:
        super().__init__(device, shape, dtype)
        self._stream = torch.cuda.Stream(device)
        self._buffers = [torch.empty(shape, dtype=dtype, pin_memory=True) for _ in range(slots)]
        self._copied: list[torch.cuda.Event | None] = [None] * slots
        self._turn = 0

    def block(self, count: int) -> Tensor:
        copied = self._copied[self._turn]
        if copied is not None:
            copied.synchronize()  # the copy from this buffer may still be under way
        return self._buffers[self._turn][:count]

    def begin(self, block: Tensor) -> Callable[[], Tensor]:
        copied = torch.cuda.Event()
        with torch.cuda.stream(self._stream):
            made = block.to(self._device, non_blocking=True)
            copied.record(self._stream)
        self._copied[self._turn] = copied
        self._turn = (self._turn + 1) % len(self._buffers)

        def taken() -> Tensor:
            present = torch.cuda.current_stream(self._device)
            present.wait_event(copied)
            made.record_stream(present)  # its memory is not given away while this stream may read it
            return made

        return taken
