"""The property of batch norm: running statistics follow one pass of the batch."""

import copy
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from mcr_bench.bench.testing.card import Failed, Property
from mcr_bench.bench.testing.trials.comparing import first_difference
from mcr_bench.bench.testing.trials.epochs import step
from mcr_bench.bench.testing.trials.gates import sound
from mcr_bench.bench.testing.trials.setups import NORMED
from mcr_bench.bench.testing.trials.trials import Trials


@sound
def batch_statistics(trials: Trials) -> None:
    """Running statistics of batch norm follow the first pass in training mode alone, or stay as they are."""
    method = trials.start(replace(trials.usual, encoder=NORMED))
    for m, encoder in method.fit.model.encoders.items():
        copied, given = copy.deepcopy(encoder), dict[str, Tensor]()
        encoder.register_forward_pre_hook(partial(_keep_first, given, m))
        step(method)
        before = _statistics(copied)
        copied.train()(given[m])
        once, after = _statistics(copied), _statistics(encoder)
        for name in once:
            if not torch.equal(after[name], before[name]) and (told := first_difference(_of(after, name), once)):
                raise Failed(f"after a step {m}.{told} from what one pass of the batch gives")


def _keep_first(given: dict[str, Tensor], modality: str, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    given.setdefault(modality, inputs[0].detach().clone())


def _statistics(encoder: nn.Module) -> dict[str, Tensor]:
    return {name: x.detach().clone() for name, x in encoder.named_buffers()}


def _of(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {name: tensors[name]}


PROPERTIES = (
    Property(
        "batch-statistics",
        "extra passes do not change the running statistics of batch norm",
        "Make extra passes in evaluation mode: with evaluation_mode(model.encoders): ... of "
        "mcr_bench.methods.terms.modes.",
        batch_statistics,
    ),
)
