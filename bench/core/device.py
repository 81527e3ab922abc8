"""Devices: the only module that calls torch.cuda, so that no call of it can come before CUDA is initialised.

Counting GPUs does not initialise CUDA and may be done in any process. Everything else about a GPU is done in the
process that trains on it, after `ready`.
"""

import torch

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


def release(device: torch.device) -> None:
    """Give memory of a GPU that PyTorch keeps for later back to other processes. Call it after `ready`."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
