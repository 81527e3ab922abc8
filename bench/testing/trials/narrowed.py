"""Where code turns float64 into a type of fewer bits: checks that compare to many digits train in float64."""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import mcr_bench
from mcr_bench.methods import base

BENCH = Path(mcr_bench.__file__).parent / "bench"
DEFAULTS = Path(base.__file__)  # the default hooks, whose backward also passes through what the method narrowed
TORCH = Path(torch.__file__).parent


class Narrowed(TorchDispatchMode):
    """Inside the block, conversions of float64 to fewer bits are noted, except those that the harness makes.

    learned: the place of the first one of a tensor that has a gradient, such as " (my_method.py, line 12)".
    seen: the place of the first one of any tensor; empty if there is none.
    error: what was raised instead, in words.
    """

    def __init__(self, file: Path | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.learned, self.seen, self.error = "", "", ""
        self._file = file

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ == "_to_copy" and _is_narrower(args[0], result) and (place := self._place()):
            self.seen = self.seen or place
            if args[0].requires_grad:
                self.learned = self.learned or place
        return result

    def _place(self) -> str:
        """Where the method is now, in words; '' inside the harness."""
        frame, nearest = sys._getframe(2), Path()
        while frame.f_back is not None:
            path = Path(frame.f_code.co_filename)
            nearest = path if nearest == Path() and not path.is_relative_to(TORCH) else nearest
            if nearest == DEFAULTS or (nearest != Path() and nearest.is_relative_to(BENCH)):
                return ""
            if path == self._file:
                return f" ({path.name}, line {frame.f_lineno})"
            frame = frame.f_back
        return f" ({nearest.name})"


def _is_narrower(before: Tensor, after: Tensor) -> bool:
    return before.dtype == torch.float64 and after.is_floating_point() and after.dtype != torch.float64
