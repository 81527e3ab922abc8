"""Epochs as the training loop makes them, on a ready method: every hook is called where the loop calls it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from mcr_bench.bench.core import seeds
from mcr_bench.bench.fit.evaluated import Evaluation
from mcr_bench.bench.testing.fits import follow_schedule, whole_batch
from mcr_bench.bench.training.epochs import check_heeded, epoch_steps
from mcr_bench.bench.training.evaluation import evaluate
from mcr_bench.bench.training.probes import Probes
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Method

# Also late ones, as some methods begin to act, or end it, at an epoch, or act every n-th; so many as one looks back on.
EPOCHS = (1, 2, 3, 4, 5, 20, 50)
# Called with the name of a hook; the block that it gives is around the call of the hook.
Around = Callable[[str], AbstractContextManager[object]]


def train(method: Method, epochs: int = 1, around: Around = nullcontext) -> Method:
    """Train whole epochs, each with its validation; returns the method. `around` sees the calls of hooks."""
    for _ in range(epochs):
        begin_epoch(method, around)
        for batch in batches(method, around):
            make_step(method, batch, around)
        end_epoch(method, around)
    return method


def train_at(method: Method, *epochs: int) -> Method:
    """Train these epochs alone, as if those between them had been trained; returns the method."""
    for epoch in epochs:
        method.fit.epoch = epoch - 1
        train(method)
    return method


def begin_epoch(method: Method, around: Around = nullcontext) -> None:
    """What comes before the first step of an epoch."""
    fit = method.fit
    fit.epoch += 1
    fit.model.train()
    seeds.reseed_all(fit.device, fit.seed, "method", fit.epoch)
    with around("on_epoch_start"):
        method.on_epoch_start()


def batches(method: Method, around: Around = nullcontext) -> list[Batch]:
    """The batches of the present epoch, as the method chooses them."""
    fit = method.fit
    with around("epoch_batches"):
        epoch = epoch_steps(method, fit, {})
    parts = epoch.order.split(fit.settings.batch_size)
    return [epoch.dropping(fit.train.batch(index), position) for position, index in enumerate(parts)]


def make_step(method: Method, batch: Batch, around: Around = nullcontext) -> None:
    """One training step, at the learning rates that the schedule gives it."""
    fit = method.fit
    fit.step += 1
    follow_schedule(fit)
    seeds.reseed(fit.device, fit.seed, "augment", fit.epoch, fit.step)
    with around("train_step"):
        method.train_step(batch)
    check_heeded(method, fit, batch)


def begun(method: Method) -> Method:
    """The method with its first epoch begun, if none has."""
    if not method.fit.epoch:
        begin_epoch(method)
    return method


def step(method: Method, batch: Batch | None = None) -> None:
    """One training step of an epoch that has begun, or of the first one; on all samples where no batch is given."""
    fit = begun(method).fit
    fit.model.train()
    make_step(method, whole_batch(fit) if batch is None else batch)


def end_epoch(method: Method, around: Around = nullcontext) -> None:
    """What comes after the last step of an epoch."""
    validation = validated(method)
    with around("on_epoch_end"):
        method.on_epoch_end(validation)


def validated(method: Method) -> Evaluation:
    """The evaluation of the validation part, with probe heads that predict nothing where there are no own heads."""
    fit = method.fit
    fit.model.eval()
    probes = None if method.needs.own_heads else Probes(fit.model, fit.device)
    return evaluate(method, fit.model, fit.val, probes, 4 * fit.settings.batch_size)
