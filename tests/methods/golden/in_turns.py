"""What every method promises whose modalities take turns: the order of the turns, and a run that is interrupted."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mcr_bench.bench.testing.fits import NAMES, make_fit
from mcr_bench.bench.testing.trials.epochs import batches, begin_epoch, end_epoch, make_step, train
from mcr_bench.bench.training.checkpoints import read_checkpoint, write_checkpoint
from mcr_bench.methods.terms.boosting.order import InTurns


def interrupt(method: InTurns, again: InTurns, folder: Path) -> None:
    """Two more steps of a run, after which a new one goes on from its checkpoint, and more epochs of both."""
    begin_epoch(method)
    rest = batches(method)
    for batch in rest[:2]:
        make_step(method, batch)
    write_checkpoint(folder, method.fit, method, None, {})
    read_checkpoint(folder, again.fit, again, None)
    for one in (method, again):
        one.fit.model.train()
        make_step(one, rest[2])
        end_epoch(one)
        train(one, 3)


def require_bit_equal(method: InTurns, again: InTurns) -> None:
    state = again.fit.model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in method.fit.model.state_dict().items())


def require_drawn_order(cls: type[InTurns]) -> None:
    """The order comes from the seed, whatever the order of the modalities, or is the given one."""

    def order(names: tuple[str, ...], seed: int, how: str = "drawn") -> list[str]:
        method = cls(order=how)  # type: ignore[arg-type]
        make_fit(method, names, seed=seed)
        return method.turns

    names = NAMES[:3]
    drawn = [order(names, seed) for seed in range(8)]
    assert drawn == [order(names[::-1], seed) for seed in range(8)]
    assert len({one[0] for one in drawn}) > 1
    assert order(names[::-1], 0, "given") == list(names[::-1])


def require_equal(mine: Mapping[str, Tensor], rule: Mapping[str, Tensor]) -> None:
    """The weights of a method are those of a rule in plain torch, name by name."""
    for name, weight in rule.items():
        torch.testing.assert_close(mine[name], weight, rtol=1e-9, atol=1e-12)
