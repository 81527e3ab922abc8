"""Properties of draws and of interruptions: the same seed gives the same training, continued or not."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.testing.card import Failed, NotApplicable, Property
from mcr_bench.bench.testing.fits import whole_batch
from mcr_bench.bench.testing.process import random_states
from mcr_bench.bench.testing.trials.comparing import first_difference, plain_values
from mcr_bench.bench.testing.trials.epochs import batches, begin_epoch, end_epoch, make_step, train, train_at
from mcr_bench.bench.testing.trials.gates import sound
from mcr_bench.bench.testing.trials.trials import FAILS, Trials
from mcr_bench.bench.training.checkpoints import read_checkpoint, write_checkpoint
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Method

LATE = 25  # an epoch by which methods act that begin to at an epoch
MODULES = {"torch": "torch", "NumPy": "numpy", "Python": "random"}


def repeatable(trials: Trials) -> None:
    """Two trainings of the same seed, one after the other in one process."""
    if trials.fails:
        raise NotApplicable(FAILS)
    if trials.difference:
        raise Failed(f"after 2 epochs {trials.difference} between two trainings of the same seed")


@sound
def global_generators(trials: Trials) -> None:
    """No hook draws from the global generators of torch, NumPy and Python, or seeds them."""
    before, used = random_states(), list[str]()

    def prepare(fit: Fit) -> None:
        nonlocal before
        before = random_states()
        for part in fit.model.extras.modules():
            if isinstance(part, nn.modules.dropout._DropoutNd):  # it can draw from nowhere else
                part.p = 0.0

    @contextmanager
    def around(hook: str) -> Iterator[None]:
        state = random_states()
        yield
        used.extend(_used(hook, state))

    method = trials.start(prepare=prepare)
    used += _used("on_fit_start", before)
    train(method, 2, around)
    with around("predict"):
        method.predict(method.fit.model, whole_batch(method.fit).inputs)
    if used:
        raise Failed(f"{used[0]}: the draws of others change with it")


def _used(hook: str, before: Mapping[str, bytes]) -> list[str]:
    now = random_states()
    changed = [MODULES[library] for library, state in before.items() if now[library] != state]
    return [f"{hook} draws from the global generator of {module}, or seeds it" for module in changed]


@sound
def resumed(trials: Trials) -> None:
    """A training that is interrupted between two epochs, or inside one, ends as one that is not.

    Also in a late epoch, as some methods begin to act, and to keep something, at an epoch.
    """
    for epochs, steps in product(((1,), (1, LATE)), (0, 2)):
        with TemporaryDirectory() as folder:
            _require_resumed(trials, Path(folder), epochs, steps)


def _require_resumed(trials: Trials, folder: Path, epochs: tuple[int, ...], steps: int) -> None:
    """Interrupt after these epochs and so many steps of the next one."""
    method, again = train_at(trials.start(), *epochs), trials.start()
    rest = _interrupted(method, steps)
    if steps and method.fit.grown:  # inside an epoch it cannot grow again, as the epoch that begins has done so
        return
    write_checkpoint(folder, method.fit, method, None, {})
    kept = plain_values(method)
    if steps:
        again.fit.epoch = method.fit.epoch - 1
        begin_epoch(again)
    try:
        read_checkpoint(folder, again.fit, again, None)
    except Exception as error:
        raise Failed(f"the checkpoint with its state_dict() cannot be read again: {error}") from error
    restored = plain_values(again)
    for one in (method, again):
        _go_on(one, rest)
    where = "between two epochs" if steps == 0 else f"after {steps} steps of an epoch"
    if LATE in epochs:
        where += f" at epoch {LATE}"
    if difference := first_difference(method.fit.model.state_dict(), again.fit.model.state_dict()):
        lost = [name for name, value in kept.items() if restored.get(name) != value]
        hint = f"; {', '.join(lost)} was not restored" if lost else ""
        raise Failed(f"interrupted {where}, {difference} an epoch later{hint}")


def _interrupted(method: Method, steps: int) -> list[Batch] | None:
    """The other batches of an epoch after so many steps; None after 0 steps, when it has not begun."""
    if not steps:
        return None
    begin_epoch(method)
    every = batches(method)
    for batch in every[:steps]:
        make_step(method, batch)
    return every[steps:]


def _go_on(method: Method, rest: list[Batch] | None) -> None:
    """The rest of the epoch, or all of it."""
    if rest is None:
        begin_epoch(method)
    method.fit.model.train()
    for batch in batches(method) if rest is None else rest:
        make_step(method, replace(method.fit.train.batch(batch.index), dropped=batch.dropped))
    end_epoch(method)


PROPERTIES = (
    Property(
        "repeatable",
        "two trainings of the same seed are equal in every bit",
        "Draw from fit.generator alone, never from a generator of your own or the clock; keep state on the instance, "
        "not on the class or the module.",
        repeatable,
    ),
    Property(
        "global-generators",
        "it leaves the global generators alone, so that all methods see the same draws",
        "Give every draw a generator: torch.randn(..., generator=self.fit.generator('noise', m)).",
        global_generators,
    ),
    Property(
        "resume",
        "an interrupted training continues to a bit-equal end",
        "Return from state_dict() every attribute that changes during training, as tensors and plain values, and take "
        "it back in load_state_dict(state). Draw from fit.generator(...), which follows epoch and step: a "
        "generator that the method keeps begins anew.",
        resumed,
    ),
)
