"""MCR with few permutations and its losses on a whole batch: what the tests of it share."""

from typing import Any

import torch

from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import whole_batch
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Method
from mcr_bench.methods.mcr import MCR

PERTURBATIONS = ("permute_latent", "noise_latent", "zero_latent", "noise_input", "zero_input")
REGRESSION = Task(None)


def mcr(**settings: Any) -> MCR:
    return build(MCR, {"permutations": 4, **settings})


def losses(method: Method, batch: Batch | None = None) -> dict[str, torch.Tensor]:
    batch = batch or whole_batch(method.fit)
    method.fit.model.train()
    return method.loss(method.forward(batch), batch)
