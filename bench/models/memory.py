"""What encoders gave for inputs that come again: evaluating many subsets of the modalities encodes each input once."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from mcr_bench.bench.problem.samples import Inputs

T = TypeVar("T", Tensor, tuple[Tensor, Tensor], list[Tensor])
Given = Tensor | tuple[Tensor, Tensor] | list[Tensor]
State = tuple[object, ...]


@dataclass(frozen=True)
class _Entry:
    """What an encoder gave.

    encoder: the encoder.
    values, lengths: its inputs, which are kept so that no other tensor can take their place in memory.
    state: of the encoder, its inputs and what it gave, by which a change of any of them is seen.
    given: what it gave.
    """

    encoder: nn.Module
    values: Tensor
    lengths: Tensor | None
    state: State
    given: Given


class EncoderMemory:
    """What encoders gave for the very tensors that they are given again.

    An encoder runs again if any of its modules is in training mode, if gradients are kept, if its weights, inputs or
    what it gave have changed since, or if the numbers are now of another precision. Its hooks run when it runs.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[str, int, int, int], _Entry] = {}

    def recall(self, part: str, encoder: nn.Module, values: Tensor, lengths: Tensor | None, make: Callable[[], T]) -> T:
        """What `make` gives, or has given for the same inputs.

        part: what of the encoder is asked for: features, tokens or stages.
        values, lengths: its inputs, (B, ...) and (B,).
        """
        if torch.is_grad_enabled() or torch.is_inference_mode_enabled() or any(x.training for x in _modules(encoder)):
            return make()
        key = (part, id(encoder), id(values), id(lengths))
        entry = self._entries.get(key)
        if entry is None or entry.state != _state(encoder, values, lengths, entry.given):
            given = make()
            self._entries[key] = _Entry(encoder, values, lengths, _state(encoder, values, lengths, given), given)
            return given
        return entry.given  # type: ignore[return-value]  # `part` says which kind it is

    def rearrange(self, before: Tensor, after: Tensor, lengths: Tensor | None, index: Tensor) -> None:
        """Know for the inputs `after` what is known for `before`, whose rows `after` holds in another order.

        An encoder in evaluation mode treats samples independently, so that it gives the same rows in that order.
        before, after: (B, ...), after = before[index]. lengths: (B,), those of `after`. index: (B,) int64.
        """
        for (part, *_), entry in list(self._entries.items()):
            if entry.values is before and entry.state == _state(entry.encoder, before, entry.lengths, entry.given):
                given = _rows(entry.given, index)
                state = _state(entry.encoder, after, lengths, given)
                key = (part, id(entry.encoder), id(after), id(lengths))
                self._entries[key] = _Entry(entry.encoder, after, lengths, state, given)

    def forget_all_but(self, inputs: Iterable[Inputs]) -> None:
        """Forget what was given for other inputs than these, also for inputs that a method has made."""
        kept = {id(x) for one in inputs for x in one.values.values()}
        self._entries = {key: entry for key, entry in self._entries.items() if id(entry.values) in kept}


def recalled(
    memory: EncoderMemory | None,
    part: str,
    encoder: nn.Module,
    values: Tensor,
    lengths: Tensor | None,
    make: Callable[[], T],
) -> T:
    """What `make` gives; with a memory see `EncoderMemory.recall`."""
    return make() if memory is None else memory.recall(part, encoder, values, lengths, make)


def _state(encoder: nn.Module, values: Tensor, lengths: Tensor | None, given: Given) -> State:
    """What differs if weights, inputs or results were written to, or if precision is another."""
    device = values.device.type
    precision = (torch.is_autocast_enabled(device), torch.get_autocast_dtype(device))
    return (precision, *((x.data_ptr(), x._version) for x in _tensors(encoder, values, lengths, given)))


def _rows(given: Given, index: Tensor) -> Given:
    if isinstance(given, Tensor):
        return given[index]
    if isinstance(given, tuple):
        return given[0][index], given[1][index]
    return [x[index] for x in given]


def _modules(encoder: nn.Module) -> list[nn.Module]:
    """The encoder and all modules in it. PyTorch's own walk takes longer than a small network's pass."""
    every = [encoder]
    for module in every:
        every.extend(inner for inner in module._modules.values() if inner is not None)
    return every


def _tensors(encoder: nn.Module, values: Tensor, lengths: Tensor | None, given: Given) -> Iterator[Tensor]:
    for module in _modules(encoder):
        yield from (x for x in (*module._parameters.values(), *module._buffers.values()) if x is not None)
    yield values
    if lengths is not None:
        yield lengths
    yield from [given] if isinstance(given, Tensor) else given
