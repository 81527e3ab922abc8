"""Checkpoints, from which a run resumes, and best weights, from which other runs start; checked when they are read.

Both are read with weights_only, so that a file that was tampered with runs nothing. A run keeps its last two
checkpoints: where the last one is damaged, it goes on from the one before.
"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mcr_bench.bench.core.faults.damaged import Damaged, check_archive, sign
from mcr_bench.bench.core.faults.of_gpus import is_out_of_memory
from mcr_bench.bench.core.files import move_whole, whole_file
from mcr_bench.bench.errors import in_words, one_line
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.fit.returns import State, checked_state
from mcr_bench.bench.training.growth import grow_again
from mcr_bench.bench.training.probes import Probes
from mcr_bench.methods.base import Method

NAME, EARLIER = "checkpoint.pt", "checkpoint.earlier.pt"


def write_checkpoint(
    folder: Path, fit: Fit, method: Method, probes: Probes | None, progress: State, key: str = ""
) -> None:
    """Write everything that the next epoch depends on to a file in `folder`; the one before is kept beside it.

    key: the key of the run.
    """
    state = {
        "epoch": fit.epoch,
        "step": fit.step,
        "grown": fit.grown,
        "frozen": [name for name, parameter in fit.model.named_parameters() if not parameter.requires_grad],
        "model": fit.model.state_dict(),
        "optimizer": fit.optimizer.state_dict(),
        "method": checked_state(method, method.state_dict()),
        "probes": probes.state_dict() if probes else {},
        "progress": progress,
    }
    path = folder / NAME
    if path.is_file():
        move_whole(path, folder / EARLIER)
    _save(path, state, key)


def read_checkpoint(folder: Path, fit: Fit, method: Method, probes: Probes | None, key: str = "") -> State | None:
    """Give `fit`, `method` and `probes` the state of the last checkpoint in `folder`, and return its progress.

    None, and nothing changed, if there is no checkpoint. Damaged if it cannot be used: what `fit` and `method` hold
    then is of no use either.
    """
    path = next((path for path in (folder / NAME, folder / EARLIER) if os.path.lexists(path)), None)
    if path is None:
        return None
    state = _load(path, key, fit.device)
    try:
        return _resumed(state, fit, method, probes)
    except Exception as error:  # of any type, as users' code takes part; a run must not fail of it each time
        raise _unusable(path, key, error) from error


def _resumed(state: State, fit: Fit, method: Method, probes: Probes | None) -> State:
    fit.epoch, fit.step = state["epoch"], state["step"]
    grow_again(fit, state.get("grown", ()))  # a checkpoint that does not name what has grown is of a run without it
    fit.model.load_state_dict(state["model"])
    _freeze(fit, state.get("frozen"))
    _load_optimizer(fit.optimizer, state["optimizer"])
    method.load_state_dict(state["method"])
    if probes:
        probes.load_state_dict(state["probes"])
    progress: State = state["progress"]
    return progress


def _freeze(fit: Fit, frozen: Collection[str] | None) -> None:
    """Let those parameters want a gradient that did: methods freeze some in mid-run. None: it was not kept."""
    if frozen is not None:
        for name, parameter in fit.model.named_parameters():
            parameter.requires_grad_(name not in frozen)


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


def save_weights(path: Path, weights: dict[str, Tensor], key: str = "") -> None:
    """Write a model's state dict, that of the best epoch of the run with this key, to `path`."""
    _save(path, weights, key)


def load_weights(path: Path, device: torch.device, key: str | None = None) -> dict[str, Tensor]:
    """The state dict of a model in the file at `path`, with its tensors on `device`.

    key: the key of its run; None for that of any. Damaged if the file is not what `save_weights` has written for it.
    """
    weights = _load(path, key, device)
    if not isinstance(weights, dict) or not all(isinstance(one, Tensor) for one in weights.values()):
        raise Damaged(path, key or "", "it holds no weights")
    return weights


def _save(path: Path, value: object, key: str) -> None:
    with whole_file(path) as file:
        torch.save(value, file)
        sign(file, key)


def _load(path: Path, key: str | None, device: torch.device) -> Any:
    try:
        check_archive(path, key)
        return torch.load(path, map_location=device, weights_only=True)
    except Damaged:
        raise
    except Exception as error:  # of any type: the file may hold anything
        raise _unusable(path, key or "", error) from error


def _unusable(path: Path, key: str, error: Exception) -> Exception:
    """Damaged, or the error itself where memory was lacking, which is not the file's fault."""
    if isinstance(error, MemoryError) or is_out_of_memory(error):
        return error
    return Damaged(path, key, one_line(in_words(error), 300))
