"""Properties of what stays as it is: batches, data, running statistics, and what belongs to the whole process."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.testing.card import Failed, NotApplicable, Property
from mcr_bench.bench.testing.trials.comparing import first_difference
from mcr_bench.bench.testing.trials.epochs import batches, begin_epoch, begun, end_epoch, make_step, step
from mcr_bench.bench.testing.trials.gates import sound
from mcr_bench.bench.testing.trials.setups import NORMED
from mcr_bench.bench.testing.trials.trials import FAILS, Trials
from mcr_bench.datasets.base import Split

MODES = (
    "Make extra passes in evaluation mode: with evaluation_mode(model.encoders): ... of mcr_bench.methods.terms.modes."
)


@sound
def data_untouched(trials: Trials) -> None:
    """Neither a batch nor the data is changed in place, nor what a prediction is made of."""
    kept: dict[str, dict[str, Tensor]] = {}
    method = trials.start(prepare=lambda fit: kept.update({n: _copied(part) for n, part in _parts(fit).items()}))
    begin_epoch(method)
    for batch in batches(method):
        before = _tensors(batch.inputs.values, batch.target)
        make_step(method, batch)
        _require_equal("the batch", before, _tensors(batch.inputs.values, batch.target))
    end_epoch(method)
    for name, part in _parts(method.fit).items():
        _require_equal(name, kept[name], _copied(part))


def _parts(fit: Fit) -> dict[str, Split]:
    return {"fit.train": fit.train, "fit.val": fit.val}


def _copied(part: Split) -> dict[str, Tensor]:
    return _tensors(part.values, part.target)


def _tensors(values: Mapping[str, object], target: Tensor) -> dict[str, Tensor]:
    tensors = {m: x.clone() for m, x in values.items() if isinstance(x, Tensor)}
    return {**tensors, "target": target.clone()}


def _require_equal(what: str, before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    if difference := first_difference(before, after):
        raise Failed(f"training changes {what} in place: {difference}")


def process_untouched(trials: Trials) -> None:
    """Training leaves the switches, functions and classes of the process as they were."""
    if trials.refused:
        raise NotApplicable(FAILS)
    if trials.changes:
        raise Failed(trials.changes[0])


@sound
def batch_statistics(trials: Trials) -> None:
    """Running statistics of batch norm follow the first pass in training mode alone, or stay as they are."""
    method = begun(trials.start(replace(trials.usual, encoder=NORMED)))
    for m, encoder in method.fit.model.encoders.items():
        copied, given = copy.deepcopy(encoder), dict[str, Tensor]()
        encoder.register_forward_pre_hook(partial(_keep_first, given, m))
        step(method)
        if not encoder.training and any(p.requires_grad for p in encoder.parameters()):
            raise Failed(
                f"after a step the encoder of '{m}' is in evaluation mode, in which the next steps would train it",
                MODES,
            )
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
        "data-untouched",
        "batches and data are not changed in place",
        "x.mul_(...), x[...] = ... and += on inputs change what others see: write x = x * ...",
        data_untouched,
    ),
    Property(
        "process-untouched",
        "training changes nothing that belongs to the whole process",
        "Do not set defaults and switches of torch, filters of warnings or the environment, and replace no function or "
        "class of others: derive from it, or take what you need into your file.",
        process_untouched,
    ),
    Property(
        "batch-statistics",
        "extra passes do not change the running statistics of batch norm",
        MODES,
        batch_statistics,
    ),
)
