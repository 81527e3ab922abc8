"""Aggregators and scalarisers of the library torchjd (TorchJD), which is imported when one of them is asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from mcr_bench.bench.core.seeds import reseed
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.fit.returns import State
from mcr_bench.methods.terms.objectives.scalarisers import SMALLEST, Scalariser

Aggregator = Literal[
    "aligned-mtl", "cagrad", "config", "dualproj", "graddrop", "gradvac", "imtl-g", "pcgrad", "upgrad"
]  # fmt: skip
Loss = Literal["geometric-mean", "imtl-l", "rlw"]
AGGREGATORS: dict[str, str] = dict(
    zip(
        get_args(Aggregator),
        ("AlignedMTL", "CAGrad", "ConFIG", "DualProj", "GradDrop", "GradVac", "IMTLG", "PCGrad", "UPGrad"),
        strict=True,
    )
)
LOSSES: dict[str, str] = dict(zip(get_args(Loss), ("GeometricMean", "IMTLL", "Random"), strict=True))
C = 0.5  # how far CAGrad may go from the mean gradient (its paper, and LibMTL's default)
PLAIN = (bool, int, float, str, tuple)


def aggregator(name: str) -> nn.Module:
    """The aggregator of this name, gradients (K, n) -> one gradient (n,). UserError where a library is missing."""
    return _made("aggregation", name, AGGREGATORS[name], *([C] if name == "cagrad" else []))


class OfTorchJD(Scalariser):
    """A scalariser of torchjd, by our name of it. UserError where the library is missing."""

    def __init__(self, name: str, count: int) -> None:
        super().__init__()
        self.rule = _made("scalarization", name, LOSSES[name], *([count] if name == "imtl-l" else []))

    def draw_all(self) -> None:
        """The log-scales of IMTL-L start at 0, where it is the plain sum; the others have no parameters."""
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, losses: Tensor, epoch: int) -> Tensor:
        loss: Tensor = self.rule(losses.clamp(min=SMALLEST))  # the geometric mean takes logarithms
        return loss


def _made(part: str, name: str, cls: str, *arguments: object) -> nn.Module:
    try:
        made: nn.Module = getattr(import_module(f"torchjd.{part}"), cls)(*arguments)
    except (ImportError, AttributeError) as error:  # torchjd, what it needs for this rule, or a release that has it
        also = " 'torchjd[cagrad]'" if name == "cagrad" else ""
        raise UserError(
            f"moo.aggregator={name} needs the library torchjd ({error}): pip install 'mcr-bench[moo]'{also}. "
            "Built in are equal, mgda, uw, dwa and stch."
        ) from error
    return made


@contextmanager
def own_draws(fit: Fit, *names: object) -> Iterator[None]:
    """Inside the block the global generators draw for this step and these names; afterwards they are as before.

    torchjd draws from them.
    """
    with torch.random.fork_rng([fit.device] if fit.device.type == "cuda" else []):
        reseed(fit.device, fit.seed, "method", fit.epoch, fit.step, *names)
        yield


def state_of(module: nn.Module) -> State:
    """What an aggregator remembers: buffers and plain attributes of all its parts, as `state_dict` lacks the latter."""
    return {
        name: {key: x for key, x in vars(part).items() if isinstance(x, PLAIN)}
        | {key: x.clone() for key, x in part.named_buffers(recurse=False)}
        for name, part in module.named_modules()
    }


def restore(module: nn.Module, state: State) -> None:
    """Give an aggregator the state that `state_of` returned. Tensors go to the CPU, where GradVac keeps its own."""
    for name, part in module.named_modules():
        for key, value in state[name].items():
            setattr(part, key, value.cpu() if isinstance(value, Tensor) else value)
