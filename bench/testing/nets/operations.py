"""Floating-point operations of a pass, with those of kernels that torch's own counter does not know.

Two operations for each product that is added to a sum, as torch.utils.flop_counter counts. Element-wise operations and
sums alone do not count. What multiplies and cannot be counted is named.
"""

import re
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry, sdpa_flop_count

Shape = tuple[int, ...]
aten = torch.ops.aten
# Words of the names of operations that multiply many numbers; of those, the ones without a count are named.
MULTIPLYING = re.compile(
    r"fft|linalg|cdist|pdist|trilinear|rnn|lstm|gru|attention|transformer|svd|cholesky|solve|inverse|conv|qr$|"
    r"m[mv]$|dot$|matrix_exp|stft"
)


def _recurrent(values: Shape, of_values: Shape, of_states: Shape, *_others: Any, **_named: Any) -> int:
    """A layer of an LSTM in one direction: inputs (..., I) through (4 H, I), as many states through (4 H, H)."""
    steps = torch.Size(values[:-1]).numel()
    return 2 * steps * (torch.Size(of_values).numel() + torch.Size(of_states).numel())


def _attended(query: Shape, key: Shape, value: Shape, *_others: Any, **_named: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _of_matrix(matrix: Shape, *_others: Any, **_named: Any) -> int:
    return 2 * torch.Size(matrix).numel()


FURTHER: dict[Any, Callable[..., int]] = {
    aten.mkldnn_rnn_layer: _recurrent,
    aten._scaled_dot_product_flash_attention_for_cpu: _attended,
    aten.mv: _of_matrix,
    aten.dot: _of_matrix,
    aten.addmv: lambda _start, matrix, *_others, **_named: _of_matrix(matrix),
}


class Operations(NamedTuple):
    """What a pass does.

    total: its floating-point operations.
    uncounted: the names of the operations that multiply, but are not in the total.
    """

    total: int
    uncounted: tuple[str, ...]


class _Unknown(TorchDispatchMode):
    """Inside the block, operations that multiply and have no count are noted in `seen`, by name."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        packet = func.overloadpacket
        known = packet in flop_registry or packet in FURTHER
        if not known and (func.namespace not in ("aten", "prim", "prims") or MULTIPLYING.search(packet.__name__)):
            self.seen.append(str(packet))
        return func(*args, **(kwargs or {}))


def operations(call: Callable[[], object]) -> Operations:
    """The operations of a call.

    Gradients are on, as otherwise layers of transformers run in one kernel that hides what it does.
    """
    with (
        warnings.catch_warnings(),
        torch.enable_grad(),
        _Unknown() as unknown,
        FlopCounterMode(display=False, custom_mapping=FURTHER) as counted,
    ):
        warnings.simplefilter("ignore")  # such as that a kernel is not available
        call()
    return Operations(counted.get_total_flops(), tuple(dict.fromkeys(unknown.seen)))
