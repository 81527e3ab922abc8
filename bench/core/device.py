"""Devices: the only module that calls torch.cuda, so that nothing there is asked before CUDA is initialised.

Counting GPUs initialises nothing and may be done anywhere. Everything else about a GPU belongs to the process that
trains on it: `ready` comes first there.
"""

import torch

from mcr_bench.bench.errors import UserError

CHOICES = "auto, cpu, cuda, cuda:N"


def gpu_count() -> int:
    """How many GPUs PyTorch sees; 0 without CUDA."""
    return torch.cuda.device_count()


def devices(choice: str, count: int) -> list[str]:
    """The device of each of `count` workers; `auto` and `cuda` deal them over all GPUs. UserError for one missing."""
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
        raise _missing(choice, gpus)
    return [f"cuda:{i % gpus}" for i in range(count)]


def ready(name: str) -> torch.device:
    """The device of this process, `cpu` or `cuda:N`: CUDA is initialised and device N the current one.

    Again changes nothing. UserError for a GPU that is missing.
    """
    device = torch.device(name)
    if device.type == "cuda":
        gpus = gpu_count()
        if (device.index or 0) >= gpus:
            raise _missing(name, gpus)
        torch.cuda.init()
        torch.cuda.set_device(device.index or 0)
    return device


def description(device: torch.device) -> str:
    """The GPU's own name, such as 'NVIDIA H100'; the device's name on anything else. After `ready`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def synchronise(device: torch.device) -> None:
    """Wait for what a GPU still has to do, so that a clock read next tells the truth. After `ready`."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seed(device: torch.device, value: int) -> None:
    """Seed the default generator of a GPU; on anything else there is nothing to seed. After `ready`."""
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(value)


def reset_peak(device: torch.device) -> None:
    """Count a GPU's peak memory anew. After `ready`."""
    torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int:
    """The most memory that tensors have held on a GPU since `reset_peak`."""
    return torch.cuda.max_memory_allocated(device)


def _is_one_gpu(choice: str) -> bool:
    return choice.startswith("cuda:") and choice[5:].isdecimal()


def _missing(choice: str, gpus: int) -> UserError:
    count = "1 GPU" if gpus == 1 else f"{gpus} GPUs"
    return UserError(f"device '{choice}' is missing: PyTorch sees {count}. Use --device auto or --device cpu.")
