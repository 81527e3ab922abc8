"""Checkpoints to resume from and best weights to start from: written whole or not at all, read with weights_only."""

import os
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.fit.returns import State
from mcr_bench.bench.training.probes import Probes
from mcr_bench.methods.base import Method

NAME = "checkpoint.pt"


def write_checkpoint(folder: Path, fit: Fit, method: Method, probes: Probes | None, progress: State) -> None:
    """Everything that the next epoch depends on."""
    state = {
        "epoch": fit.epoch,
        "step": fit.step,
        "model": fit.model.state_dict(),
        "optimizer": fit.optimizer.state_dict(),
        "method": method.state_dict(),
        "probes": probes.state_dict() if probes else {},
        "progress": progress,
    }
    _save(folder / NAME, state)


def read_checkpoint(folder: Path, fit: Fit, method: Method, probes: Probes | None) -> State | None:
    """Put `fit`, `method` and `probes` where the checkpoint left them and return the progress; None without one."""
    path = folder / NAME
    if not path.is_file():
        return None
    state = torch.load(path, map_location=fit.device, weights_only=True)
    fit.epoch, fit.step = state["epoch"], state["step"]
    fit.model.load_state_dict(state["model"])
    _load_optimizer(fit.optimizer, state["optimizer"])
    method.load_state_dict(state["method"])
    if probes:
        probes.load_state_dict(state["probes"])
    progress: State = state["progress"]
    return progress


def _load_optimizer(optimizer: Optimizer, state: State) -> None:
    """Its state; Adam counts steps on the CPU, and a count on the GPU would be waited for in every step."""
    optimizer.load_state_dict(state)
    for of_parameter in optimizer.state.values():
        if "step" in of_parameter:
            of_parameter["step"] = of_parameter["step"].cpu()


def save_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """The best epoch's model."""
    _save(path, weights)


def load_weights(path: Path, device: torch.device) -> dict[str, Tensor]:
    """A model's state dict."""
    weights: dict[str, Tensor] = torch.load(path, map_location=device, weights_only=True)
    return weights


def _save(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    torch.save(value, partial)
    os.replace(partial, path)
