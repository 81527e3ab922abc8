"""Checkpoints, from which a run resumes, and best weights, from which other runs start; both read with weights_only."""

from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer

from mcr_bench.bench.core.files import whole_file
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.fit.returns import State
from mcr_bench.bench.training.growth import grow_again
from mcr_bench.bench.training.probes import Probes
from mcr_bench.methods.base import Method

NAME = "checkpoint.pt"


def write_checkpoint(folder: Path, fit: Fit, method: Method, probes: Probes | None, progress: State) -> None:
    """Write everything that the next epoch depends on to a file in `folder`."""
    state = {
        "epoch": fit.epoch,
        "step": fit.step,
        "grown": fit.grown,
        "model": fit.model.state_dict(),
        "optimizer": fit.optimizer.state_dict(),
        "method": method.state_dict(),
        "probes": probes.state_dict() if probes else {},
        "progress": progress,
    }
    _save(folder / NAME, state)


def read_checkpoint(folder: Path, fit: Fit, method: Method, probes: Probes | None) -> State | None:
    """Give `fit`, `method` and `probes` the state of the checkpoint in `folder`, and return its progress.

    None, and nothing changed, if there is no checkpoint.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    state = torch.load(path, map_location=fit.device, weights_only=True)
    fit.epoch, fit.step = state["epoch"], state["step"]
    grow_again(fit, state.get("grown", ()))  # a checkpoint that does not name what has grown is of a run without it
    fit.model.load_state_dict(state["model"])
    _load_optimizer(fit.optimizer, state["optimizer"])
    method.load_state_dict(state["method"])
    if probes:
        probes.load_state_dict(state["probes"])
    progress: State = state["progress"]
    return progress


def _load_optimizer(optimizer: Optimizer, state: State) -> None:
    """Give the optimiser its state, in the memory layout of its parameters, which the checkpoint's may not have had.

    Step counts belong on the CPU, as every step would wait for them on a GPU, but fused kernels need them beside their
    parameter.
    """
    optimizer.load_state_dict(state)
    for group in optimizer.param_groups:
        beside = group.get("fused") or group.get("capturable")
        for parameter in group["params"]:
            of_parameter = optimizer.state.get(parameter, {})
            for name, value in of_parameter.items():
                if name == "step":
                    of_parameter[name] = value.to(parameter.device if beside else "cpu")
                elif isinstance(value, Tensor) and value.shape == parameter.shape:
                    of_parameter[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def save_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """Write a model's state dict, that of the best epoch, to `path`."""
    _save(path, weights)


def load_weights(path: Path, device: torch.device) -> dict[str, Tensor]:
    """The state dict of a model in the file at `path`, with its tensors on `device`."""
    weights: dict[str, Tensor] = torch.load(path, map_location=device, weights_only=True)
    return weights


def _save(path: Path, value: object) -> None:
    with whole_file(path) as file:
        torch.save(value, file)
