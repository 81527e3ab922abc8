"""The loops that the harness is held against: its own steps written by hand, and the same network at its fastest."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from mcr_bench.bench.core.seeds import initialise
from mcr_bench.bench.models.layout import channels_last
from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.bench.perf.measured import Machine, Work
from mcr_bench.bench.perf.workloads import Workload, network
from mcr_bench.bench.training.loop import Training
from mcr_bench.datasets.base import Split


def bare_loop(run: Training, fused: bool = True) -> Work:
    """An epoch written by hand, with the run's model, data and order, and PyTorch's own Adam.

    fused: whether Adam is fused, as in the harness; otherwise it is Adam as it comes.
    """
    fit, settings = run.fit, run.fit.settings.optimizer
    values = _tensors(fit.train)
    decay = settings.weight_decay
    optimizer = torch.optim.Adam(
        fit.model.parameters(), settings.lr, eps=settings.eps, weight_decay=decay, fused=fused or None
    )
    return lambda: _epoch(fit.model, values, fit.train.target, fit.settings.batch_size, optimizer, fit.autocast)


def reference_loop(machine: Machine, workload: Workload, run: Training) -> Work:
    """An epoch of the network of `run` with all that makes it fast: channels-last weights and inputs, and fused Adam.

    cuDNN's benchmark mode and the precision are those of the process, as the run has set them. Nothing of the harness
    is in the loop.
    """
    model = network(workload)
    initialise(model, 0)
    fast = torch.channels_last
    model.to(machine.device).to(memory_format=fast)  # type: ignore[call-overload]  # torch's stubs leave it out
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    values = {m: channels_last(x) if x.ndim >= 4 else x for m, x in _tensors(run.fit.train).items()}
    return lambda: _epoch(model, values, run.fit.train.target, workload.batch, optimizer, run.fit.autocast)


def _epoch(
    model: MultimodalModel,
    values: Mapping[str, Tensor],
    target: Tensor,
    batch: int,
    optimizer: torch.optim.Optimizer,
    autocast: Callable[[], AbstractContextManager[object]],
) -> None:
    for index in torch.randperm(len(target)).to(target.device).split(batch):
        with autocast():
            features = [model.encoders[m](x[index]) for m, x in values.items()]
            slices = model.fusion.slices.values()
            logits = sum(layer(f) for layer, f in zip(slices, features, strict=True)) + model.fusion.bias
            loss = nn.functional.cross_entropy(logits, target[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _tensors(split: Split) -> dict[str, Tensor]:
    return {m: x for m, x in split.values.items() if isinstance(x, Tensor)}
